// Matmul, fourth rung: out[m, n] = sum_k x[m, k] * w[n, k] on subgroup matrices (tensor cores), f16 operands and f32 sums. K must be a multiple of 8.
// x: [M, K] f16. w: [N, K] f16, bf16 (exact in f16 between 6e-5 and 65504) or f32 (rounded). Epilogue and result: epilogue.wgsl.
// One workgroup: 16*ROWS*GRID_ROWS rows x 16*COLUMNS*GRID_COLUMNS columns; GRID_ROWS x GRID_COLUMNS subgroups, each with ROWS x COLUMNS matrices of 16x16.
// K advances in steps of STEP. The operands of a step wait in workgroup memory while those of the next one travel from memory into registers. Tiles are
// arrays of vec4: 16-byte stores, and the compiler sees the alignment that lets it load matrices 16 bytes a thread; one vec4 of padding a row spreads the banks.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "matmul/epilogue.wgsl"

const W_DTYPE: u32 = 0u;
const ROWS: u32 = 2u;
const COLUMNS: u32 = 4u;
const GRID_ROWS: u32 = 4u;
const GRID_COLUMNS: u32 = 2u;
const STEP: u32 = 64u;
const SUBGROUP: u32 = 32u;
// Workgroups of this many row tiles walk together through the columns, so that what they read stays in the cache.
const PANEL: u32 = 8u;

const THREADS: u32 = SUBGROUP * GRID_ROWS * GRID_COLUMNS;
const TILE_ROWS: u32 = 16u * ROWS * GRID_ROWS;
const TILE_COLUMNS: u32 = 16u * COLUMNS * GRID_COLUMNS;
const QUADS: u32 = STEP / 8u; // vec4s (of 8 halves) in a row of a tile
const STRIDE: u32 = QUADS + 1u;
const KSTEPS: u32 = STEP / 16u;
const X_LOADS: u32 = TILE_ROWS * QUADS / THREADS;
const W_LOADS: u32 = TILE_COLUMNS * QUADS / THREADS;

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;

var<workgroup> x_tile: array<vec4<u32>, TILE_ROWS * STRIDE>;
var<workgroup> w_tile: array<vec4<u32>, TILE_COLUMNS * STRIDE>;
// Each subgroup's place for a row of its result matrices on their way through the epilogue.
var<workgroup> results: array<f32, GRID_ROWS * GRID_COLUMNS * 16 * 16>;

struct WideWeights {
  low: vec4<u32>,
  high: vec4<u32>, // only for f32
}

fn load_x(row: u32, k: u32) -> vec4<u32> {
  if k >= params.K {
    return vec4<u32>();
  }
  return x[(min(row, params.M - 1u) * params.K + k) >> 3u];
}

fn load_w(n: u32, k: u32) -> WideWeights {
  if k >= params.K {
    return WideWeights(vec4<u32>(), vec4<u32>());
  }
  let i = min(n, params.N - 1u) * params.K + k;
  if W_DTYPE == DTYPE_F32 {
    return WideWeights(w[i >> 2u], w[(i >> 2u) + 1u]);
  }
  return WideWeights(w[i >> 3u], vec4<u32>());
}

fn to_f16(raw: WideWeights) -> vec4<u32> {
  if W_DTYPE == DTYPE_F16 {
    return raw.low;
  }
  if W_DTYPE == DTYPE_F32 {
    let a = bitcast<vec4<f32>>(raw.low);
    let b = bitcast<vec4<f32>>(raw.high);
    return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
  }
  return vec4<u32>(
    pack2x16float(widen_pair(raw.low.x, DTYPE_BF16)),
    pack2x16float(widen_pair(raw.low.y, DTYPE_BF16)),
    pack2x16float(widen_pair(raw.low.z, DTYPE_BF16)),
    pack2x16float(widen_pair(raw.low.w, DTYPE_BF16)),
  );
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  // Panels: group.x counts tiles of the whole result.
  let row_tiles = (params.M + TILE_ROWS - 1u) / TILE_ROWS;
  let column_tiles = (params.N + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tile = group.y * groups.x + group.x;
  if tile >= row_tiles * column_tiles {
    return;
  }
  let panel = tile / (PANEL * column_tiles);
  let panel_rows = min(PANEL, row_tiles - panel * PANEL);
  let within = tile % (PANEL * column_tiles);
  let row0 = (panel * PANEL + within % panel_rows) * TILE_ROWS;
  let column0 = (within / panel_rows) * TILE_COLUMNS;

  let subgroup_row = (subgroup / GRID_COLUMNS) * ROWS * 16u;
  let subgroup_column = (subgroup % GRID_COLUMNS) * COLUMNS * 16u;

#repeat r ROWS
#repeat c COLUMNS
  var sum_$r_$c = subgroup_matrix_result<f32, 16, 16>();
#end
#end
#repeat i X_LOADS
  let x_at_$i = thread + $iu * THREADS;
  var x_next_$i = load_x(row0 + x_at_$i / QUADS, (x_at_$i % QUADS) * 8u);
#end
#repeat i W_LOADS
  let w_at_$i = thread + $iu * THREADS;
  var w_next_$i = load_w(column0 + w_at_$i / QUADS, (w_at_$i % QUADS) * 8u);
#end

  for (var k0 = 0u; k0 < params.K; k0 += STEP) {
#repeat i X_LOADS
    x_tile[(x_at_$i / QUADS) * STRIDE + x_at_$i % QUADS] = x_next_$i;
#end
#repeat i W_LOADS
    w_tile[(w_at_$i / QUADS) * STRIDE + w_at_$i % QUADS] = to_f16(w_next_$i);
#end
    workgroupBarrier();
    if k0 + STEP < params.K {
#repeat i X_LOADS
      x_next_$i = load_x(row0 + x_at_$i / QUADS, k0 + STEP + (x_at_$i % QUADS) * 8u);
#end
#repeat i W_LOADS
      w_next_$i = load_w(column0 + w_at_$i / QUADS, k0 + STEP + (w_at_$i % QUADS) * 8u);
#end
    }
#repeat k KSTEPS
#repeat r ROWS
      let left_$k_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&x_tile, (subgroup_row + $ru * 16u) * STRIDE + $ku * 2u, STRIDE);
#end
#repeat c COLUMNS
      let right_$k_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&w_tile, (subgroup_column + $cu * 16u) * STRIDE + $ku * 2u, STRIDE);
#repeat r ROWS
      sum_$r_$c = subgroupMatrixMultiplyAccumulate(left_$k_$r, right_$k_$c, sum_$r_$c);
#end
#end
#end
    workgroupBarrier();
  }

  let place = subgroup * 256u;
#repeat r ROWS
#repeat c COLUMNS
  subgroupMatrixStore<row_major>(&results, place, sum_$r_$c, 16u);
  workgroupBarrier();
  for (var e = lane * 2u; e < 256u; e += SUBGROUP * 2u) {
    let row = row0 + subgroup_row + $ru * 16u + e / 16u;
    let column = column0 + subgroup_column + $cu * 16u + e % 16u;
    store_pair(row, column, results[place + e], results[place + e + 1u]);
  }
  workgroupBarrier();
#end
#end
}

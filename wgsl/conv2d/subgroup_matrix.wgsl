// Convolution, channels last, as an implicit matrix product on subgroup matrices (tensor cores): f16 operands, f32 sums. The formula, sizes and
// result are those of epilogue.wgsl; x f32 (rounded to f16 on the way, saturating) or f16, w f16; channels a multiple of 8; INPUT_RELU with f32 only.
// One workgroup: 16*ROWS*GRID_ROWS pixels x 16*COLUMNS*GRID_COLUMNS channels; GRID_ROWS x GRID_COLUMNS subgroups, each with ROWS x COLUMNS matrices
// of 16x16; for each tap STEP channels at a time. As in matmul/subgroup_matrix.wgsl, the operands of a step wait in workgroup memory while those of the
// next one travel from memory into registers, tiles are arrays of vec4, and one vec4 of padding a row spreads the banks.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "conv2d/epilogue.wgsl"

const X_F16: bool = false;
const ROWS: u32 = 2u;
const COLUMNS: u32 = 4u;
const GRID_ROWS: u32 = 4u;
const GRID_COLUMNS: u32 = 2u;
const SUBGROUP: u32 = 32u;
const STEP: u32 = 64u;

const THREADS: u32 = SUBGROUP * GRID_ROWS * GRID_COLUMNS;
const TILE_ROWS: u32 = 16u * ROWS * GRID_ROWS;
const TILE_COLUMNS: u32 = 16u * COLUMNS * GRID_COLUMNS;
const QUADS: u32 = STEP / 8u; // vec4s (of 8 halves) in a row of a tile
const STRIDE_QUADS: u32 = QUADS + 1u;
const KSTEPS: u32 = STEP / 16u;
const X_LOADS: u32 = TILE_ROWS * QUADS / THREADS;
const W_LOADS: u32 = TILE_COLUMNS * QUADS / THREADS;

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;

var<workgroup> x_tile: array<vec4<u32>, TILE_ROWS * STRIDE_QUADS>;
var<workgroup> w_tile: array<vec4<u32>, TILE_COLUMNS * STRIDE_QUADS>;
// Each subgroup's place for a result matrix on its way through the epilogue.
var<workgroup> results: array<f32, GRID_ROWS * GRID_COLUMNS * 16 * 16>;

// Eight channels as they lie in memory.
struct Eight {
  low: vec4<u32>,
  high: vec4<u32>, // only for f32
}

fn load_x(at: Origin, ky: u32, kx: u32, channel: u32) -> Eight {
  if channel >= params.channels || !is_inside(at, ky, kx) {
    return Eight(vec4<u32>(), vec4<u32>());
  }
  let i = tap_index(at, ky, kx) + channel;
  if X_F16 {
    return Eight(x[i >> 3u], vec4<u32>());
  }
  return Eight(x[i >> 2u], x[(i >> 2u) + 1u]);
}

fn load_w(column: u32, tap: u32, channel: u32) -> vec4<u32> {
  if channel >= params.channels || column >= params.out_channels {
    return vec4<u32>();
  }
  return w[((column * params.kernel * params.kernel + tap) * params.channels + channel) >> 3u];
}

fn to_f16(raw: Eight) -> vec4<u32> {
  if X_F16 {
    return raw.low;
  }
  let least = select(-65504.0, 0.0, has(INPUT_RELU));
  let a = clamp(bitcast<vec4<f32>>(raw.low), vec4<f32>(least), vec4<f32>(65504.0));
  let b = clamp(bitcast<vec4<f32>>(raw.high), vec4<f32>(least), vec4<f32>(65504.0));
  return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
) {
  let column_tiles = (params.out_channels + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tile = line_index(workgroup, counts);
  let row0 = tile / column_tiles * TILE_ROWS;
  if row0 >= params.pixels {
    return;
  }
  let column0 = tile % column_tiles * TILE_COLUMNS;
  let subgroup_row = (subgroup / GRID_COLUMNS) * ROWS * 16u;
  let subgroup_column = (subgroup % GRID_COLUMNS) * COLUMNS * 16u;
  let eight = thread % QUADS * 8u;

  let taps = params.kernel * params.kernel;
  var tap = 0u;
  var channel0 = 0u;
#repeat r ROWS
#repeat c COLUMNS
  var sum_$r_$c = subgroup_matrix_result<f32, 16, 16>();
#end
#end
#repeat i X_LOADS
  let x_row_$i = (thread + $iu * THREADS) / QUADS;
  let x_at_$i = origin(row0 + x_row_$i);
  var x_next_$i = load_x(x_at_$i, 0u, 0u, eight);
#end
#repeat i W_LOADS
  let w_column_$i = (thread + $iu * THREADS) / QUADS;
  var w_next_$i = load_w(column0 + w_column_$i, 0u, eight);
#end

  while tap < taps {
#repeat i X_LOADS
    x_tile[x_row_$i * STRIDE_QUADS + thread % QUADS] = to_f16(x_next_$i);
#end
#repeat i W_LOADS
    w_tile[w_column_$i * STRIDE_QUADS + thread % QUADS] = w_next_$i;
#end
    workgroupBarrier();
    channel0 += STEP;
    if channel0 >= params.channels {
      channel0 = 0u;
      tap++;
    }
    if tap < taps {
      let ky = tap / params.kernel;
      let kx = tap % params.kernel;
#repeat i X_LOADS
      x_next_$i = load_x(x_at_$i, ky, kx, channel0 + eight);
#end
#repeat i W_LOADS
      w_next_$i = load_w(column0 + w_column_$i, tap, channel0 + eight);
#end
    }
#repeat k KSTEPS
#repeat r ROWS
    let left_$k_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&x_tile, (subgroup_row + $ru * 16u) * STRIDE_QUADS + $ku * 2u, STRIDE_QUADS);
#end
#repeat c COLUMNS
    let right_$k_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&w_tile, (subgroup_column + $cu * 16u) * STRIDE_QUADS + $ku * 2u, STRIDE_QUADS);
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
  for (var e = lane * 4u; e < 256u; e += SUBGROUP * 4u) {
    let sums = vec4<f32>(results[place + e], results[place + e + 1u], results[place + e + 2u], results[place + e + 3u]);
    store_quad(row0 + subgroup_row + $ru * 16u + e / 16u, column0 + subgroup_column + $cu * 16u + e % 16u, sums);
  }
  workgroupBarrier();
#end
#end
}

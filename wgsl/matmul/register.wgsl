// Matmul, third rung: out[m, n] = sum_k x[m, k] * w[n, k]. Each thread keeps SIDE x SIDE products in registers, so that one value read
// from workgroup memory serves several multiply-adds, and memory is read 16 bytes at a time. K must be a multiple of 8.
// x: [M, K] f32 or f16. w: [N, K] f32, f16 or bf16. Accumulates in f32. Epilogue and result: store_pair.wgsl.
// One workgroup: THREAD_ROWS*SIDE rows and 16*SIDE columns, 16 x THREAD_ROWS threads; K in steps of 8*STEP, of which the next one travels from memory into
// registers while the present one is in use. SIDE is a multiple of 4.
// Where results have few tiles, workgroups share the K of a tile as in subgroup_matrix.wgsl: each takes params.split eights of it (z: which).
// The tiles keep K contiguous (four k to a vec4), so nothing is transposed on the way in. Products are added one by one: dot() would multiply apart from adding.
#include "matmul/store_pair.wgsl"

const X_DTYPE: u32 = 0u;
const W_DTYPE: u32 = 0u;
const SIDE: u32 = 4u;
const THREAD_ROWS: u32 = 16u;
const STEP: u32 = 2u; // eights of K
const THREADS: u32 = 16u * THREAD_ROWS;
// A tile row is an even count of vec4 and one of padding: 16-byte reads of 8 threads in neighbouring rows then cover all banks once.
const STRIDE: u32 = 2u * STEP + 1u;
const ROWS: u32 = THREAD_ROWS * SIDE; // of x in a step
const COLUMNS: u32 = 16u * SIDE;      // rows of w
const LOADS: u32 = 1u; // STEP * (ROWS + COLUMNS) / THREADS, which is whole: eights that a thread brings in a step

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;

// Threads store their own results. Else these leave by way of the tile, 32 rows at a time, which suits many that have an epilogue.
const DIRECT: bool = SIDE < 8u || !(HAS_BIAS || HAS_GAMMA || HAS_RESIDUAL || ACTIVATION != ACTIVATION_NONE);
const PASSES: u32 = SIDE / 2u;
const QUADS: u32 = COLUMNS / 4u; // vec4s in a row of results

// x's rows, then w's; at the end two of results for each row of threads, with a vec4 of padding each.
var<workgroup> tile: array<vec4<f32>, (ROWS + COLUMNS) * STRIDE>;

// Eight values as they are stored; `more` holds the second half of them if they are f32.
struct Raw {
  words: vec4<u32>,
  more: vec4<u32>,
}

fn load(is_x: bool, eight: u32) -> Raw {
  if is_x {
    if X_DTYPE == DTYPE_F32 {
      return Raw(x[2u * eight], x[2u * eight + 1u]);
    }
    return Raw(x[eight], vec4<u32>());
  }
  if W_DTYPE == DTYPE_F32 {
    return Raw(w[2u * eight], w[2u * eight + 1u]);
  }
  return Raw(w[eight], vec4<u32>());
}

fn place(at: u32, raw: Raw, dtype: u32) {
  if dtype == DTYPE_F32 {
    tile[at] = bitcast<vec4<f32>>(raw.words);
    tile[at + 1u] = bitcast<vec4<f32>>(raw.more);
  } else {
    tile[at] = widen_quad(raw.words.xy, dtype);
    tile[at + 1u] = widen_quad(raw.words.zw, dtype);
  }
}

// A thread owns neighbouring columns (for 16-bit stores), yet neighbouring threads should read neighbouring tile rows:
// even columns fill the first half of the tile, odd ones the second.
fn w_row(column: u32) -> u32 {
  return ROWS + column / 2u + column % 2u * (COLUMNS / 2u);
}

fn put(row: u32, column: u32, value: f32) {
  tile[row * (QUADS + 1u) + column / 4u][column % 4u] = value;
}

@compute @workgroup_size(16, THREAD_ROWS)
fn main(@builtin(local_invocation_id) thread: vec3<u32>, @builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let row0 = group.y * ROWS;
  let column0 = group.x * COLUMNS;
  let row_eights = params.K / 8u;
  let begin = group.z * params.split;
  let end = min(begin + params.split, row_eights);
  // The thread's pieces. Rows and columns beyond the result repeat the last ones, K beyond the end is zero.
  let part = index % STEP;
#repeat i LOADS
  let is_x_$i = index + $iu * THREADS < STEP * ROWS;
  let line_$i = (index + $iu * THREADS) / STEP - select(ROWS, 0u, is_x_$i);
  let place_$i = select(w_row(line_$i), line_$i, is_x_$i) * STRIDE + 2u * part;
  let base_$i = select(min(column0 + line_$i, params.N - 1u), min(row0 + line_$i, params.M - 1u), is_x_$i) * row_eights;
  var next_$i = load(is_x_$i, base_$i + min(begin + part, row_eights - 1u));
#end

  var sums: array<f32, SIDE * SIDE>;
  for (var k0 = begin; k0 < end; k0 += STEP) {
    let inside = k0 + part < end;
#repeat i LOADS
    {
      let raw = Raw(select(vec4<u32>(), next_$i.words, inside), select(vec4<u32>(), next_$i.more, inside));
      if is_x_$i {
        place(place_$i, raw, X_DTYPE);
      } else {
        place(place_$i, raw, W_DTYPE);
      }
    }
#end
    workgroupBarrier();
    let next = min(k0 + STEP + part, row_eights - 1u);
#repeat i LOADS
    next_$i = load(is_x_$i, base_$i + next);
#end
    for (var k = 0u; k < 2u * STEP; k++) {
      var a: array<vec4<f32>, SIDE>;
      for (var r = 0u; r < SIDE; r++) {
        a[r] = tile[(thread.y + THREAD_ROWS * r) * STRIDE + k];
      }
      for (var c = 0u; c < SIDE; c++) {
        let b = tile[w_row(2u * thread.x + c % 2u + 32u * (c / 2u)) * STRIDE + k];
        for (var r = 0u; r < SIDE; r++) {
          var sum = sums[r * SIDE + c];
          sum = fma(a[r].x, b.x, sum);
          sum = fma(a[r].y, b.y, sum);
          sum = fma(a[r].z, b.z, sum);
          sums[r * SIDE + c] = fma(a[r].w, b.w, sum);
        }
      }
    }
    workgroupBarrier();
  }

  out_row0 = group.z * params.M;
  if DIRECT {
    for (var r = 0u; r < SIDE; r++) {
      for (var c = 0u; c < SIDE; c += 2u) {
        let column = column0 + 2u * (thread.x + 16u * (c / 2u));
        store_pair(row0 + thread.y + THREAD_ROWS * r, column, sums[r * SIDE + c], sums[r * SIDE + c + 1u]);
      }
    }
    return;
  }
  // A loop over 64 results is not written out when an epilogue makes its body long, and then sums lie in slow memory all along (H200, 8328 x 4096 x 1024 with
  // GELU: 7.7 ms instead of 2.3). So only the way into the tile is written out; the rest are meant to stay loops (params.never is 0).
  for (var turn = 0u; turn < PASSES + params.never; turn++) {
#repeat p PASSES
    if turn == $pu {
#repeat c SIDE
      put(thread.y, 2u * thread.x + $cu % 2u + $cu / 2u * 32u, sums[$[2 * $p] * SIDE + $cu]);
      put(thread.y + THREAD_ROWS, 2u * thread.x + $cu % 2u + $cu / 2u * 32u, sums[$[2 * $p + 1] * SIDE + $cu]);
#end
    }
#end
    workgroupBarrier();
    for (var i = index; i < 2u * THREAD_ROWS * QUADS + params.never; i += THREADS) {
      let values = tile[i / QUADS * (QUADS + 1u) + i % QUADS];
      let row = row0 + 2u * THREAD_ROWS * turn + i / QUADS;
      let column = column0 + 4u * (i % QUADS);
      store_pair(row, column, values.x, values.y);
      store_pair(row, column + 2u, values.z, values.w);
    }
    workgroupBarrier();
  }
}

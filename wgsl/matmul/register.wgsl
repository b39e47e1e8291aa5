// Matmul, third rung: out[m, n] = sum_k x[m, k] * w[n, k]. Each thread keeps ROWS x COLUMNS products in registers, so that one value read
// from workgroup memory serves several multiply-adds, and memory is read 16 bytes at a time. K must be a multiple of 8.
// x: [M, K] f32 or f16. w: [N, K] f32, f16 or bf16. Accumulates in f32. Epilogue and result: store_pair.wgsl.
// One workgroup: 16*ROWS rows x 16*COLUMNS columns, 16x16 threads; K in steps of 16. COLUMNS is even.
// Where results have few tiles, workgroups share the K of a tile as in subgroup_matrix.wgsl: each takes params.split eights of it (z: which).
// The tiles keep K contiguous (four k to a vec4, products by dot()), so nothing is transposed on the way in.
#include "matmul/store_pair.wgsl"

const X_DTYPE: u32 = 0u;
const W_DTYPE: u32 = 0u;
const ROWS: u32 = 4u;
const COLUMNS: u32 = 4u;
const STEP: u32 = 16u;
// A tile row is 4 vec4 and one of padding: 16-byte reads of 8 threads in neighbouring rows then cover all banks once.
const STRIDE: u32 = 5u;

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;

var<workgroup> x_tile: array<vec4<f32>, 16 * ROWS * STRIDE>;
var<workgroup> w_tile: array<vec4<f32>, 16 * COLUMNS * STRIDE>;

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

fn widen_eight(words: vec4<u32>, dtype: u32) -> Eight {
  return Eight(widen_quad(words.xy, dtype), widen_quad(words.zw, dtype));
}

fn load_x(row: u32, k: u32) -> Eight {
  if row >= params.M || k >= params.K {
    return Eight(vec4<f32>(), vec4<f32>());
  }
  let i = row * params.K + k;
  if X_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(x[i >> 2u]), bitcast<vec4<f32>>(x[(i >> 2u) + 1u]));
  }
  return widen_eight(x[i >> 3u], X_DTYPE);
}

fn load_w(n: u32, k: u32) -> Eight {
  if n >= params.N || k >= params.K {
    return Eight(vec4<f32>(), vec4<f32>());
  }
  let i = n * params.K + k;
  if W_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(w[i >> 2u]), bitcast<vec4<f32>>(w[(i >> 2u) + 1u]));
  }
  return widen_eight(w[i >> 3u], W_DTYPE);
}

// A thread owns neighbouring columns (for 16-bit stores), yet neighbouring threads should read neighbouring tile rows:
// even columns fill the first half of the tile, odd ones the second.
fn w_row(column: u32) -> u32 {
  return (column >> 1u) + (column & 1u) * 8u * COLUMNS;
}

@compute @workgroup_size(16, 16)
fn main(@builtin(local_invocation_id) thread: vec3<u32>, @builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let row0 = group.y * 16u * ROWS;
  let column0 = group.x * 16u * COLUMNS;
  let begin = group.z * params.split * 8u;
  let end = min(begin + params.split * 8u, params.K);
  out_row0 = group.z * params.M;
  var sums: array<f32, ROWS * COLUMNS>;
  for (var k0 = begin; k0 < end; k0 += STEP) {
    for (var i = index; i < 16u * ROWS * 2u; i += 256u) {
      let values = load_x(row0 + (i >> 1u), k0 + (i & 1u) * 8u);
      let at = (i >> 1u) * STRIDE + (i & 1u) * 2u;
      x_tile[at] = values.low;
      x_tile[at + 1u] = values.high;
    }
    for (var i = index; i < 16u * COLUMNS * 2u; i += 256u) {
      let values = load_w(column0 + (i >> 1u), k0 + (i & 1u) * 8u);
      let at = w_row(i >> 1u) * STRIDE + (i & 1u) * 2u;
      w_tile[at] = values.low;
      w_tile[at + 1u] = values.high;
    }
    workgroupBarrier();
    for (var k = 0u; k < STEP / 4u; k++) {
      var a: array<vec4<f32>, ROWS>;
      for (var r = 0u; r < ROWS; r++) {
        a[r] = x_tile[(thread.y + 16u * r) * STRIDE + k];
      }
      for (var c = 0u; c < COLUMNS; c++) {
        let b = w_tile[(thread.x + 16u * (c >> 1u) + (c & 1u) * 8u * COLUMNS) * STRIDE + k];
        for (var r = 0u; r < ROWS; r++) {
          sums[r * COLUMNS + c] += dot(a[r], b);
        }
      }
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < ROWS; r++) {
    for (var c = 0u; c < COLUMNS; c += 2u) {
      let column = column0 + 2u * (thread.x + 16u * (c >> 1u));
      store_pair(row0 + thread.y + 16u * r, column, sums[r * COLUMNS + c], sums[r * COLUMNS + c + 1u]);
    }
  }
}

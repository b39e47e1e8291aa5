// Matmul, second rung: out[m, n] = sum_k x[m, k] * w[n, k] with both operands staged through workgroup memory in 16-wide tiles, so that each
// value is read from memory once per 16 uses. Any K, any dtypes.
// x: [M, K] f32 or f16. w: [N, K] f32, f16 or bf16. Accumulates in f32. Epilogue and result: store_pair.wgsl.
// One workgroup: 16 rows x 32 columns, 16x16 threads, two neighbouring columns a thread.
#include "matmul/store_pair.wgsl"

const X_DTYPE: u32 = 0u;
const W_DTYPE: u32 = 0u;
const TILE: u32 = 16u;
const STRIDE: u32 = 17u;

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;

// Rows of 17: threads that read down a column of the tile then fall on different banks.
var<workgroup> x_tile: array<f32, 272>;
var<workgroup> w_tile: array<f32, 544>;

fn load_x(row: u32, k: u32) -> f32 {
  if row >= params.M || k >= params.K {
    return 0.0;
  }
  let i = row * params.K + k;
  return element(x[word_of(i, X_DTYPE)], i, X_DTYPE);
}

fn load_w(n: u32, k: u32) -> f32 {
  if n >= params.N || k >= params.K {
    return 0.0;
  }
  let i = n * params.K + k;
  return element(w[word_of(i, W_DTYPE)], i, W_DTYPE);
}

@compute @workgroup_size(16, 16)
fn main(@builtin(local_invocation_id) thread: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let row = group.y * TILE;
  let column = group.x * 2u * TILE;
  var first = 0.0;
  var second = 0.0;
  for (var k0 = 0u; k0 < params.K; k0 += TILE) {
    x_tile[thread.y * STRIDE + thread.x] = load_x(row + thread.y, k0 + thread.x);
    w_tile[thread.y * STRIDE + thread.x] = load_w(column + thread.y, k0 + thread.x);
    w_tile[(thread.y + TILE) * STRIDE + thread.x] = load_w(column + TILE + thread.y, k0 + thread.x);
    workgroupBarrier();
    for (var k = 0u; k < TILE; k++) {
      let a = x_tile[thread.y * STRIDE + k];
      first += a * w_tile[thread.x * 2u * STRIDE + k];
      second += a * w_tile[(thread.x * 2u + 1u) * STRIDE + k];
    }
    workgroupBarrier();
  }
  store_pair(row + thread.y, column + thread.x * 2u, first, second);
}

// Matmul, first rung: out[m, n] = sum_k x[m, k] * w[n, k], one thread for two neighbouring outputs, every operand read from memory
// as often as it is used (2 loads for each multiply-add). Any K, any dtypes.
// x: [M, K] f32 or f16. w: [N, K] f32, f16 or bf16. Accumulates in f32. Epilogue and result: store_pair.wgsl.
// One workgroup: 8 rows x 64 columns.
#include "matmul/store_pair.wgsl"

const X_DTYPE: u32 = 0u;
const W_DTYPE: u32 = 0u;

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;

fn dot_row(row: u32, n: u32) -> f32 {
  var sum = 0.0;
  for (var k = 0u; k < params.K; k++) {
    let i = row * params.K + k;
    let j = n * params.K + k;
    sum += element(x[word_of(i, X_DTYPE)], i, X_DTYPE) * element(w[word_of(j, W_DTYPE)], j, W_DTYPE);
  }
  return sum;
}

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.y;
  let column = id.x * 2u;
  if row >= params.M || column >= params.N {
    return;
  }
  var second = 0.0;
  if column + 1u < params.N {
    second = dot_row(row, column + 1u);
  }
  store_pair(row, column, dot_row(row, column), second);
}

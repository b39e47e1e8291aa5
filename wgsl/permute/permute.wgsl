// y[i, j, k] = x[i * stride_i + j * stride_j + k * stride_k]        a reordering of three axes
//
// x  f32, f16 or bf16 (X_DTYPE), every element once
// y  [size_i, size_j, size_k]  f32 or f16 (OUT_F16; size_k even then), saturating in f16
// For convolution weights on their way to a matrix product: axes in the order in which the product sums. One thread writes one word of y.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const X_DTYPE: u32 = 0u;
const OUT_F16: bool = false;

struct Params {
  count: u32,
  size_j: u32,
  size_k: u32,
  stride_i: u32,
  stride_j: u32,
  stride_k: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

fn value(i: u32) -> f32 {
  let row = i / params.size_k;
  let source = row / params.size_j * params.stride_i + row % params.size_j * params.stride_j + i % params.size_k * params.stride_k;
  return element(x[word_of(source, X_DTYPE)], source, X_DTYPE);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = line_index(workgroup, counts) * 256u + thread;
  if OUT_F16 {
    if word < params.count / 2u {
      y[word] = narrow_pair(value(2u * word), value(2u * word + 1u));
    }
  } else if word < params.count {
    y[word] = bitcast<u32>(value(word));
  }
}

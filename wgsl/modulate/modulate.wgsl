// y[t, i] = x[t, i] + gate[t, i] * (normed[t, i] * (1 + scale[t, i]) + shift[t, i])
//
// x, normed  [tokens, dim]      f32
// modulation [tokens, 3 * dim]  f32: shift, then scale, then gate
// y          [tokens, dim]      f32
// One thread writes one element.
// Source: adaptive layer norm, Peebles and Xie 2023 (DiT).
#include "common/grid.wgsl"

struct Params {
  count: u32,
  dim: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> normed: array<f32>;
@group(0) @binding(2) var<storage, read> modulation: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = line_index(workgroup, counts) * 256u + thread;
  if i >= params.count {
    return;
  }
  let shift = i / params.dim * 3u * params.dim + i % params.dim;
  let scale = shift + params.dim;
  let gate = scale + params.dim;
  y[i] = x[i] + modulation[gate] * (normed[i] * (1.0 + modulation[scale]) + modulation[shift]);
}

// y = scale_a * a + scale_b * b
//
// a, b, y  [count]  f32
// One thread writes one element.
#include "common/grid.wgsl"

struct Params {
  count: u32,
  scale_a: f32,
  scale_b: f32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = line_index(workgroup, counts) * 256u + thread;
  if i < params.count {
    y[i] = params.scale_a * a[i] + params.scale_b * b[i];
  }
}

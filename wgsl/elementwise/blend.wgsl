// y = sigmoid(s) * a + (1 - sigmoid(s)) * b
//
// s, a, b, y  [count]  f32
// 1 - sigmoid(s) is computed as sigmoid(-s), which does not cancel. One thread writes one element.
#include "common/grid.wgsl"
#include "common/sigmoid.wgsl"

struct Params {
  count: u32,
}

@group(0) @binding(0) var<storage, read> s: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = line_index(workgroup, counts) * 256u + thread;
  if i < params.count {
    y[i] = sigmoid(s[i]) * a[i] + sigmoid(-s[i]) * b[i];
  }
}

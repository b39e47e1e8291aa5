// y[i] = x[index[i]], zeros where the index is outside of [0, rows)
//
// x      [rows, dim]   f32
// index  [count]       i32
// y      [count, dim]  f32
// One thread writes one element.
#include "common/grid.wgsl"

struct Params {
  rows: u32,
  count: u32,
  dim: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = line_index(workgroup, counts) * 256u + thread;
  if i >= params.count * params.dim {
    return;
  }
  let row = index[i / params.dim]; // read as unsigned, a negative index is larger than any row
  var value = 0.0;
  if row < params.rows {
    value = x[row * params.dim + i % params.dim];
  }
  y[i] = value;
}

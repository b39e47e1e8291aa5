// destination[index[i]] = source[i], or += source[i] (ADD); indices outside of [0, rows) are skipped
//
// destination  [rows, dim]   f32, in place
// index        [count]       i32, distinct
// source       [count, dim]  f32
// One thread writes one element.
#include "common/grid.wgsl"

const ADD: bool = false;

struct Params {
  rows: u32,
  count: u32,
  dim: u32,
}

@group(0) @binding(0) var<storage, read_write> destination: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> source: array<f32>;

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
  if row >= params.rows {
    return;
  }
  let at = row * params.dim + i % params.dim;
  if ADD {
    destination[at] += source[i];
  } else {
    destination[at] = source[i];
  }
}

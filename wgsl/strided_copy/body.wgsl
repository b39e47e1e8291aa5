// What both kernels of a strided copy do; they declare `source` and `destination`, whose elements everything here counts. One thread copies one element.
#include "common/grid.wgsl"

struct Params {
  size_0: u32,
  size_1: u32,
  size_2: u32,
  size_3: u32,
  source_stride_0: u32,
  source_stride_1: u32,
  source_stride_2: u32,
  source_stride_3: u32,
  target_stride_0: u32,
  target_stride_1: u32,
  target_stride_2: u32,
  target_stride_3: u32,
  source_offset: u32,
  target_offset: u32,
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = line_index(workgroup, counts) * 256u + thread;
  if i >= params.size_0 * params.size_1 * params.size_2 * params.size_3 {
    return;
  }
  let i_3 = i % params.size_3;
  let above_3 = i / params.size_3;
  let i_2 = above_3 % params.size_2;
  let above_2 = above_3 / params.size_2;
  let i_1 = above_2 % params.size_1;
  let i_0 = above_2 / params.size_1;
  let from_index = params.source_offset + i_0 * params.source_stride_0 + i_1 * params.source_stride_1
    + i_2 * params.source_stride_2 + i_3 * params.source_stride_3;
  let to_index = params.target_offset + i_0 * params.target_stride_0 + i_1 * params.target_stride_1
    + i_2 * params.target_stride_2 + i_3 * params.target_stride_3;
  destination[to_index] = source[from_index];
}

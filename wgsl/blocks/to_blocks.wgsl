// y = x, f16 in rows, as f16 in blocks (common/blocks.wgsl).
//
// x  [rows, columns]  f16, columns a multiple of 8
// y  [rows, columns]  f16_blocks
// One thread moves 16 bytes; neighbours write neighbours.
#include "common/grid.wgsl"

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = line_index(workgroup, counts) * 256u + thread;
  let eighths = params.columns / 8u;
  let block = at / 16u;
  let row = block / eighths * 16u + at % 16u;
  if row >= params.rows {
    return;
  }
  y[at] = x[row * eighths + block % eighths];
}

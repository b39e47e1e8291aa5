// out[s, y, x, c] = (p[2y, 2x, c] + p[2y, 2x + 1, c] + p[2y + 1, 2x, c] + p[2y + 1, 2x + 1, c]) / 4        p = x[s]
//
// x    [S, height, width, channels]          f32, channels a multiple of 4
// out  [S, height / 2, width / 2, channels]  f32; an odd last row or column of x is dropped
// One thread writes four channels.
#include "common/grid.wgsl"

struct Params {
  count: u32,
  height: u32,
  width: u32,
  channels: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

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
  let quads = params.channels / 4u;
  let out_width = params.width / 2u;
  let out_height = params.height / 2u;
  let pixel = i / quads;
  let row = pixel / out_width;
  let source_row = row / out_height * params.height + row % out_height * 2u;
  let upper = (source_row * params.width + pixel % out_width * 2u) * quads + i % quads;
  let lower = upper + params.width * quads;
  out[i] = 0.25 * (x[upper] + x[upper + quads] + x[lower] + x[lower + quads]);
}

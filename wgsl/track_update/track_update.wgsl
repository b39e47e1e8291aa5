// coords[n, s] += delta[n, s, 0 .. 1] for s > 0; the first frame, where the tracks were asked for, stays
//
// coords  [tracks, frames, 2]      f32, in place
// delta   [tracks, frames, width]  f32, of which the first two columns are the step
// One thread moves one track in one frame.
#include "common/grid.wgsl"

struct Params {
  tokens: u32,
  frames: u32,
  width: u32,
}

@group(0) @binding(0) var<storage, read_write> coords: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> delta: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let token = line_index(workgroup, counts) * 64u + thread;
  if token < params.tokens && token % params.frames != 0u {
    coords[token] += vec2<f32>(delta[token * params.width], delta[token * params.width + 1u]);
  }
}

// y[first + p, ((c * TIME + t) * PATCH + v) * PATCH + u] = normalised value of channel c of the pixel (v, u) of patch p in time slice t; zeros after that up to `width`
//
// The patches of `groups` time groups of `group_frames` pictures each, of rows * PATCH x columns * PATCH pixels, group after group. In a group they come row by row,
// MERGE x MERGE windows of them together: rows of windows, windows, rows in a window, patches. A group with fewer than TIME pictures repeats its last one.
//
// pixels  BYTES: RGB bytes [pictures, height, width, 3] from byte `pixel0` on, four to a word
//         otherwise f32 [pictures, 3, height, width] from element `pixel0` on
// values  BYTES: [3, 256] f32, what each byte of a channel becomes
//         otherwise [2, 3] f32: mean and deviation, by which (pixel - mean) / deviation
// y       [patches, width]  f32 or f16 (OUT_F16; width even then)
// One thread writes one word of y.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const BYTES: bool = true;
const OUT_F16: bool = false;
const PATCH: u32 = 16u;
const TIME: u32 = 2u;
const MERGE: u32 = 2u;

struct Params {
  groups: u32,
  group_frames: u32,
  rows: u32,
  columns: u32,
  width: u32,
  pixel0: u32,
  first: u32,
}

@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

fn pixel(frame: u32, row: u32, column: u32, channel: u32) -> f32 {
  let height = params.rows * PATCH;
  let width = params.columns * PATCH;
  if BYTES {
    let i = params.pixel0 + ((frame * height + row) * width + column) * 3u + channel;
    return values[channel * 256u + extractBits(pixels[i / 4u], i % 4u * 8u, 8u)];
  }
  let i = params.pixel0 + ((frame * 3u + channel) * height + row) * width + column;
  return (bitcast<f32>(pixels[i]) - values[channel]) / values[3u + channel];
}

// Element i of the patches [patches, width].
fn patch_value(i: u32) -> f32 {
  let within = i % params.width;
  if within >= 3u * TIME * PATCH * PATCH {
    return 0.0;
  }
  let patch_index = i / params.width;
  let group = patch_index / (params.rows * params.columns);
  let in_group = patch_index % (params.rows * params.columns);
  let window = in_group / (MERGE * MERGE);
  let in_window = in_group % (MERGE * MERGE);
  let windows = params.columns / MERGE;
  let row = window / windows * MERGE + in_window / MERGE;
  let column = window % windows * MERGE + in_window % MERGE;
  let time = within / (PATCH * PATCH) % TIME;
  let frame = group * params.group_frames + min(time, params.group_frames - 1u);
  return pixel(
    frame,
    row * PATCH + within / PATCH % PATCH,
    column * PATCH + within % PATCH,
    within / (TIME * PATCH * PATCH),
  );
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = line_index(workgroup, counts) * 256u + thread;
  let count = params.groups * params.rows * params.columns * params.width;
  let start = params.first * params.width;
  if OUT_F16 {
    if word < count / 2u {
      y[start / 2u + word] = narrow_pair(patch_value(2u * word), patch_value(2u * word + 1u));
    }
  } else if word < count {
    y[start + word] = bitcast<u32>(patch_value(word));
  }
}

// For every track n and frame s of the map, with window index (a, b) of 0 .. 2 * RADIUS each:
//   out[n, s, column + a * (2 * RADIUS + 1) + b] = bilinear sample of corr at x = coords.x * scale + a - RADIUS, y = coords.y * scale + b - RADIUS
//   corr[y, x] = sum_c features[n, s, c] * map[s, y, x, c] / sqrt(channels), zero outside of the map
// All samples of a window share the fraction of their coordinates, so that (2 * RADIUS + 2)^2 products serve them all and corr is never stored.
//
// map       [frames, height, width, channels]  f32, channels a multiple of 4: one level of the pyramid, frames first_frame .. of all
// features  [tracks, all_frames, channels]     f32
// coords    [tracks, all_frames, 2]            f32, (x, y) in pixels of level 0
// out       [tracks, all_frames, out_width]    f32
// An axis of one pixel is sampled there wherever the coordinate lies: PyTorch's grid_sample, given coordinates scaled to [-1, 1], does that too.
// All arithmetic in f32. One workgroup: one track in one frame; its threads share out the products, then the samples.
// Source: Teed and Deng 2020 (RAFT), Karaev et al. 2024 (CoTracker).
#include "common/grid.wgsl"

const RADIUS: u32 = 4u;
const THREADS: u32 = 128u;
const SIDE: u32 = 2u * RADIUS + 1u;
const TAPS: u32 = SIDE + 1u;

struct Params {
  tracks: u32,
  frames: u32,
  first_frame: u32,
  all_frames: u32,
  height: u32,
  width: u32,
  channels: u32,
  column: u32,
  out_width: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> map: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> features: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> coords: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

var<workgroup> products: array<f32, TAPS * TAPS>;

// Whole part of a coordinate, small enough for an i32; beyond these limits every tap lies outside anyway.
fn whole(coordinate: f32) -> i32 {
  return i32(floor(clamp(coordinate, -1.0e6, 1.0e6)));
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let pair = line_index(workgroup, counts);
  if pair >= params.tracks * params.frames {
    return;
  }
  let frame = pair % params.frames;
  let token = pair / params.frames * params.all_frames + params.first_frame + frame;
  let centre = coords[token] * params.scale;
  let x0 = whole(centre.x);
  let y0 = whole(centre.y);
  let fraction = vec2<f32>(
    select(centre.x - f32(x0), 0.0, params.width == 1u),
    select(centre.y - f32(y0), 0.0, params.height == 1u),
  );

  let quads = params.channels / 4u;
  for (var i = thread; i < TAPS * TAPS; i += THREADS) {
    let x = select(x0 + i32(i / TAPS) - i32(RADIUS), 0, params.width == 1u);
    let y = select(y0 + i32(i % TAPS) - i32(RADIUS), 0, params.height == 1u);
    var sum = 0.0;
    if x >= 0 && x < i32(params.width) && y >= 0 && y < i32(params.height) {
      let from_map = ((frame * params.height + u32(y)) * params.width + u32(x)) * quads;
      for (var c = 0u; c < quads; c++) {
        sum += dot(map[from_map + c], features[token * quads + c]);
      }
    }
    products[i] = sum * inverseSqrt(f32(params.channels));
  }
  workgroupBarrier();
  for (var i = thread; i < SIDE * SIDE; i += THREADS) {
    let near = i / SIDE * TAPS + i % SIDE; // (a, b); one more tap in x is TAPS further, one more in y is next
    let left = mix(products[near], products[near + 1u], fraction.y);
    let right = mix(products[near + TAPS], products[near + TAPS + 1u], fraction.y);
    out[token * params.out_width + params.column + i] = mix(left, right, fraction.x);
  }
}

// The tokens of the track update transformer, each the concatenation of what is known about track n in frame s, plus where and whether it was asked for:
//   out[n, s] = concat(emb(flow.x), emb(flow.y), flow / max_scale, flow / max_scale, corr[n, s], features[n, s]) + positions[n] + reference[min(s, 1)]
//   flow = coords[n, s] - coords[n, 0];  emb(z) interleaves sin(z d_k), cos(z d_k), k = 0 .. channels / 4 - 1, with d_k = 2k * 1000 / (channels / 2)
//
// coords          [tracks, frames, 2]         f32
// corr, features  [tracks, frames, channels]  f32, channels a multiple of 4
// positions       [tracks, width]             f32, width = 3 * channels + 4
// reference       [2, width]                  f32: for the first frame, and for the others
// out             [tracks, frames, width]     f32
// Angles reach 1e5. GPUs' sin and cos lose digits there, so the angle, rounded to f32 as in the original, is first brought to [-pi, pi].
// One thread writes one element.
// Source: Karaev et al. 2024 (CoTracker), Wang et al. 2025 (VGGT).
#include "common/grid.wgsl"

struct Params {
  tracks: u32,
  frames: u32,
  channels: u32,
  max_scale: f32,
}

@group(0) @binding(0) var<storage, read> coords: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> corr: array<f32>;
@group(0) @binding(2) var<storage, read> features: array<f32>;
@group(0) @binding(3) var<storage, read> positions: array<f32>;
@group(0) @binding(4) var<storage, read> reference: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// angle - 2 pi n for the nearest n, with 2 pi in three parts of which the first two times n are exact (Cody and Waite 1980).
fn reduced(angle: f32) -> f32 {
  let n = round(angle * 0.15915494309189535);
  return ((angle - n * 6.28125) - n * 0.00193500518798828125) - n * 3.019915981956753e-7;
}

fn embedded(z: f32, i: u32) -> f32 {
  let step = 1000.0 / f32(params.channels / 2u);
  let angle = reduced(z * (f32(i & ~1u) * step));
  return select(sin(angle), cos(angle), (i & 1u) == 1u);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = line_index(workgroup, counts) * 256u + thread;
  let channels = params.channels;
  let half = channels / 2u;
  let width = 3u * channels + 4u;
  let token = i / width;
  if token >= params.tracks * params.frames {
    return;
  }
  let column = i % width;
  let track = token / params.frames;
  let frame = token % params.frames;
  let flow = coords[token] - coords[track * params.frames];
  var value = 0.0;
  if column < half {
    value = embedded(flow.x, column);
  } else if column < channels {
    value = embedded(flow.y, column - half);
  } else if column < channels + 4u {
    value = select(flow.x, flow.y, ((column - channels) & 1u) == 1u) / params.max_scale;
  } else if column < 2u * channels + 4u {
    value = corr[token * channels + column - channels - 4u];
  } else {
    value = features[token * channels + column - 2u * channels - 4u];
  }
  out[i] = value + positions[track * width + column] + reference[min(frame, 1u) * width + column];
}

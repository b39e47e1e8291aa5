// out[s, y, x, c] = (1 - v) ((1 - u) p[iy, ix, c] + u p[iy, ix + 1, c]) + v ((1 - u) p[iy + 1, ix, c] + u p[iy + 1, ix + 1, c]) + position[s, y, x, c]
//   p = x[s];  iy + v = (first_row + y) * scale_y,  ix + u = x * scale_x      scale = (n - 1) / (N - 1): the corners of both pictures meet
//   position: positions[x, c] for the first half of the channels and positions[out_width + first_row + y, c - channels / 2] for the second; only where HAS_POSITIONS
//
// x          [S, height, width, channels]            f32, channels a multiple of 4
// positions  [out_width + full height, channels / 2] f32; anything may be bound where HAS_POSITIONS is false
// out        [S, out_height, out_width, channels]    f32 or f16 (OUT_F16), saturating: out_height rows of the resized picture from first_row on
// All arithmetic in f32. One thread writes four channels.
// Source: bilinear interpolation with align_corners as in PyTorch's upsample_bilinear2d; positions as in Ranftl et al. 2021 with VGGT's embedding.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const HAS_POSITIONS: bool = false;
const OUT_F16: bool = false;

struct Params {
  count: u32,
  height: u32,
  width: u32,
  channels: u32,
  out_height: u32,
  out_width: u32,
  first_row: u32,
  scale_y: f32,
  scale_x: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> positions: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec2<u32>>;

fn position(row: u32, column: u32, channel: u32) -> f32 {
  let half = params.channels / 2u;
  if channel < half {
    return positions[column * half + channel];
  }
  return positions[(params.out_width + row) * half + channel - half];
}

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
  let quad = i % quads;
  let pixel = i / quads;
  let column = pixel % params.out_width;
  let row = params.first_row + pixel / params.out_width % params.out_height;
  let frame = pixel / params.out_width / params.out_height;

  let source_y = f32(row) * params.scale_y;
  let source_x = f32(column) * params.scale_x;
  let y0 = min(u32(source_y), params.height - 1u);
  let x0 = min(u32(source_x), params.width - 1u);
  let y1 = min(y0 + 1u, params.height - 1u);
  let x1 = min(x0 + 1u, params.width - 1u);
  let v = source_y - f32(y0);
  let u = source_x - f32(x0);
  let upper = (frame * params.height + y0) * params.width;
  let lower = (frame * params.height + y1) * params.width;
  var value = (1.0 - v) * ((1.0 - u) * x[(upper + x0) * quads + quad] + u * x[(upper + x1) * quads + quad])
    + v * ((1.0 - u) * x[(lower + x0) * quads + quad] + u * x[(lower + x1) * quads + quad]);
  if HAS_POSITIONS {
    let channel = 4u * quad;
    value += vec4<f32>(
      position(row, column, channel),
      position(row, column, channel + 1u),
      position(row, column, channel + 2u),
      position(row, column, channel + 3u),
    );
  }
  if OUT_F16 {
    out[i] = vec2<u32>(narrow_pair(value.x, value.y), narrow_pair(value.z, value.w));
  } else {
    out[2u * i] = bitcast<vec2<u32>>(value.xy);
    out[2u * i + 1u] = bitcast<vec2<u32>>(value.zw);
  }
}

// out[s, y, x, c] = (1 - v) ((1 - u) p[iy, ix, c] + u p[iy, ix + 1, c]) + v ((1 - u) p[iy + 1, ix, c] + u p[iy + 1, ix + 1, c]) + position[s, y, x, c]
//   p = x[s];  iy + v = (first_row + y) * scale_y,  ix + u = x * scale_x      scale = (n - 1) / (N - 1): the corners of both pictures meet
//   position: positions[x, c] for the first half of the channels and positions[out_width + first_row + y, c - CHANNELS / 2] for the second; only where HAS_POSITIONS
//
// x          [S, height, width, CHANNELS]            f32, CHANNELS a multiple of 4 (of 8 for an out in f16)
// positions  [out_width + full height, CHANNELS / 2] f32; anything may be bound where HAS_POSITIONS is false
// out        [S, out_height, out_width, CHANNELS]    f32 or f16 (OUT_F16), saturating: out_height rows of the resized picture from first_row on
// All arithmetic in f32. One workgroup: 256 pieces of a row of out (x: which of them; y: row; z: s), a thread for the 16 bytes of each. Dividing by what is only
// known to params would take longer than all the rest.
// Source: bilinear interpolation with align_corners as in PyTorch's upsample_bilinear2d; positions as in Ranftl et al. 2021 with VGGT's embedding.
#include "common/dtype.wgsl"

const CHANNELS: u32 = 4u;
const HAS_POSITIONS: bool = false;
const OUT_F16: bool = false;
const STORED: u32 = select(4u, 8u, OUT_F16); // channels of a thread
const PIECES: u32 = CHANNELS / STORED;
const QUADS: u32 = CHANNELS / 4u;

struct Params {
  height: u32,
  width: u32,
  out_height: u32,
  out_width: u32,
  first_row: u32,
  scale_y: f32,
  scale_x: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> positions: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>;

// Two neighbouring channels of the embedding; both halves of the channels have QUADS such pairs.
fn position_pair(row: u32, column: u32, pair: u32) -> vec2<f32> {
  return positions[select(params.out_width + row, column, pair < QUADS) * QUADS + pair % QUADS];
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i = workgroup.x * 256u + thread;
  let column = i / PIECES;
  let piece = i % PIECES;
  if column >= params.out_width {
    return;
  }
  let row = params.first_row + workgroup.y;
  let frame = workgroup.z;

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
  let quad = piece * (STORED / 4u);
#repeat q 2
  var value_$q = vec4<f32>();
  if $qu * 4u < STORED {
    let at = quad + $qu;
    value_$q = (1.0 - v) * ((1.0 - u) * x[(upper + x0) * QUADS + at] + u * x[(upper + x1) * QUADS + at])
      + v * ((1.0 - u) * x[(lower + x0) * QUADS + at] + u * x[(lower + x1) * QUADS + at]);
    if HAS_POSITIONS {
      value_$q += vec4<f32>(position_pair(row, column, 2u * at), position_pair(row, column, 2u * at + 1u));
    }
  }
#end
  let to = ((frame * params.out_height + workgroup.y) * params.out_width + column) * PIECES + piece;
  if OUT_F16 {
    out[to] = vec4<u32>(
      narrow_pair(value_0.x, value_0.y),
      narrow_pair(value_0.z, value_0.w),
      narrow_pair(value_1.x, value_1.y),
      narrow_pair(value_1.z, value_1.w),
    );
  } else {
    out[to] = bitcast<vec4<u32>>(value_0);
  }
}

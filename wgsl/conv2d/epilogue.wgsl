// What all variants of the convolution share: sizes, where a tap of the kernel lies, and what happens to a sum before it is stored.
//   out[s, oy, ox, o] = addend + act_r(residual) + act(bias[o] + sum over ky, kx, c of act_i(x[s, iy, ix, c]) * w[o, ky, kx, c])
//   iy = stride * oy + ky - pad_top,  ix = stride * ox + kx - pad_left,  zero outside of the picture;  each act is ReLU or nothing
// The convolution is a matrix product (implicit GEMM; Chellapilla, Puri and Simard 2006, without storing the unrolled picture): a row for each
// pixel of the result, a column for each of its channels, and a sum over taps and channels.
// x: [S, height, width, channels], channels last. w: [out_channels, kernel, kernel, channels]. bias: f32 [out_channels].
// residual, addend: f32 like out. out: [S, out_height, out_width, out_channels] f32 or f16. out_channels is a multiple of 4.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const OUT_F16: bool = false;

struct Params {
  pixels: u32,
  height: u32,
  width: u32,
  channels: u32,
  out_height: u32,
  out_width: u32,
  out_channels: u32,
  pad_top: u32,
  pad_left: u32,
  kernel: u32,
  stride: u32,
  flags: u32,
}

// Bits of params.flags. They are no constants: a model uses many combinations, each would have to be compiled, and next to the product a uniform
// branch costs nothing.
const HAS_BIAS: u32 = 1u;
const INPUT_RELU: u32 = 2u;
const RELU: u32 = 4u;
const HAS_RESIDUAL: u32 = 8u;
const RESIDUAL_RELU: u32 = 16u;
const HAS_ADDEND: u32 = 32u;

fn has(flag: u32) -> bool {
  return (params.flags & flag) != 0u;
}

@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> addend: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec2<u32>>;

// The place in x that the kernel's first tap has for one pixel of the result.
struct Origin {
  frame: u32, // first row of the frame, counted over all frames
  y: i32,
  x: i32,
}

// Beyond the last pixel every tap lies outside of the picture.
fn origin(pixel: u32) -> Origin {
  if pixel >= params.pixels {
    return Origin(0u, -65536, 0);
  }
  let row = pixel / params.out_width;
  return Origin(
    row / params.out_height * params.height,
    i32(row % params.out_height * params.stride) - i32(params.pad_top),
    i32(pixel % params.out_width * params.stride) - i32(params.pad_left),
  );
}

fn is_inside(at: Origin, ky: u32, kx: u32) -> bool {
  let y = at.y + i32(ky);
  let x = at.x + i32(kx);
  return y >= 0 && y < i32(params.height) && x >= 0 && x < i32(params.width);
}

// Index of the first channel of a tap inside the picture.
fn tap_index(at: Origin, ky: u32, kx: u32) -> u32 {
  return ((at.frame + u32(at.y + i32(ky))) * params.width + u32(at.x + i32(kx))) * params.channels;
}

// Four neighbouring channels, of which the first is a multiple of 4.
fn store_quad(pixel: u32, channel: u32, sum: vec4<f32>) {
  if pixel >= params.pixels || channel >= params.out_channels {
    return;
  }
  var value = sum;
  if has(HAS_BIAS) {
    value += bias[channel >> 2u];
  }
  if has(RELU) {
    value = max(value, vec4<f32>());
  }
  let quad = (pixel * params.out_channels + channel) >> 2u;
  if has(HAS_RESIDUAL) {
    value += select(residual[quad], max(residual[quad], vec4<f32>()), has(RESIDUAL_RELU));
  }
  if has(HAS_ADDEND) {
    value += addend[quad];
  }
  if OUT_F16 {
    out[quad] = vec2<u32>(narrow_pair(value.x, value.y), narrow_pair(value.z, value.w));
  } else {
    out[2u * quad] = bitcast<vec2<u32>>(value.xy);
    out[2u * quad + 1u] = bitcast<vec2<u32>>(value.zw);
  }
}

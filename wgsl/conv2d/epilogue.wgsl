// What all variants of the convolution share: sizes, where a tap of the kernel lies, and what happens to a sum before it is stored.
//   out[s, oy, ox, o] = addend + act_r(residual) + act(bias[o] + sum over ky, kx, c of act_i(x[s, iy, ix, c]) * w[o, ky, kx, c])
//   iy = stride * oy + ky - pad_top,  ix = stride * ox + kx - pad_left,  zero outside of the picture;  each act is ReLU or nothing
// The convolution is a matrix product (implicit GEMM; Chellapilla, Puri and Simard 2006, without storing the unrolled picture): a row for each
// pixel of the result, a column for each of its channels, and a sum over taps and channels.
// x: [S, height, width, channels], channels last. w: [out_channels, kernel, kernel, channels]. bias: f32 [out_channels].
// residual, addend: f32 like out. out: [S, out_height, out_width, out_channels]. out_channels is a multiple of 4.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

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
  never: u32, // 0: for loops that the compiler must not know never to run
}

// Bits of params.flags. They are no constants: a model uses many combinations, each of which would have to be compiled. What they leave out is selected
// away, without a branch.
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

// What is added to a sum.
struct Beside {
  residual: vec4<f32>,
  addend: vec4<f32>,
}

fn relu_if(flag: u32, value: vec4<f32>) -> vec4<f32> {
  return select(value, max(value, vec4<f32>()), has(flag));
}

// Beside the sums that become quad `quad` of out.
fn beside(quad: u32) -> Beside {
  let residual_value = residual[select(0u, quad, has(HAS_RESIDUAL))];
  let addend_value = addend[select(0u, quad, has(HAS_ADDEND))];
  return Beside(
    select(vec4<f32>(), relu_if(RESIDUAL_RELU, residual_value), has(HAS_RESIDUAL)),
    select(vec4<f32>(), addend_value, has(HAS_ADDEND)),
  );
}

fn bias_quad(quad: u32) -> vec4<f32> {
  return select(vec4<f32>(), bias[select(0u, quad, has(HAS_BIAS))], has(HAS_BIAS));
}

fn complete_quad(sum: vec4<f32>, bias_values: vec4<f32>, next: Beside) -> vec4<f32> {
  return relu_if(RELU, sum + bias_values) + next.residual + next.addend;
}

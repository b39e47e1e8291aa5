// Per pixel: z[o] = bias[o] + sum_c x[pixel, c] * w[o, c];  value[pixel, o] = act(z[o]) for o < OUTPUTS - 1;  confidence[params.first + pixel] = 1 + exp(z[OUTPUTS - 1])
//   act(z) = exp(z), or sign(z) * (exp(|z|) - 1) where INVERSE_LOG
//
// x           [pixels, CHANNELS]     f32, CHANNELS a multiple of 4
// w           [OUTPUTS, CHANNELS]    f32, f16 or bf16 (W_DTYPE)
// bias        [OUTPUTS]              f32
// value       [first + pixels, OUTPUTS - 1]  f32: the last of them
// confidence  [first + pixels]               f32
// The last 1x1 convolution of a dense prediction head with its activations, since so few outputs would leave most of a matrix product's tile empty.
// All arithmetic in f32; exponents are cut at 88, where exp leaves f32. One thread computes one pixel; the weights wait in workgroup memory.
// Source: Wang et al. 2025 (VGGT).
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const OUTPUTS: u32 = 2u;
const CHANNELS: u32 = 32u;
const W_DTYPE: u32 = 0u;
const INVERSE_LOG: bool = false;

struct Params {
  pixels: u32,
  first: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> value: array<f32>;
@group(0) @binding(4) var<storage, read_write> confidence: array<f32>;

var<workgroup> weights: array<f32, OUTPUTS * CHANNELS>;

fn exponential(z: f32) -> f32 {
  return exp(min(z, 88.0));
}

// exp(a) - 1 for a >= 0; near zero by its series, where the difference would cancel.
fn exponential_minus_one(a: f32) -> f32 {
  if a < 0.1 {
    return a * (1.0 + a * (0.5 + a * (0.16666667 + a * 0.041666667)));
  }
  return exponential(a) - 1.0;
}

fn activate(z: f32) -> f32 {
  if INVERSE_LOG {
    return sign(z) * exponential_minus_one(abs(z));
  }
  return exponential(z);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  for (var i = thread; i < OUTPUTS * CHANNELS; i += 256u) {
    weights[i] = element(w[word_of(i, W_DTYPE)], i, W_DTYPE);
  }
  workgroupBarrier();
  let pixel = line_index(workgroup, counts) * 256u + thread;
  if pixel >= params.pixels {
    return;
  }
#repeat o OUTPUTS
  var sum_$o = bias[$ou];
#end
  for (var c = 0u; c < CHANNELS; c += 4u) {
    let quad = x[(pixel * CHANNELS + c) / 4u];
#repeat o OUTPUTS
    sum_$o += dot(quad, vec4<f32>(weights[$ou * CHANNELS + c], weights[$ou * CHANNELS + c + 1u], weights[$ou * CHANNELS + c + 2u], weights[$ou * CHANNELS + c + 3u]));
#end
  }
#repeat o OUTPUTS
  if $ou + 1u == OUTPUTS {
    confidence[params.first + pixel] = 1.0 + exponential(sum_$o);
  } else {
    value[(params.first + pixel) * (OUTPUTS - 1u) + $ou] = activate(sum_$o);
  }
#end
}

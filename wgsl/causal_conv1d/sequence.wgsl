// Causal depthwise convolution over a sequence, then SiLU:  y[t, c] = silu(sum_k weight[c, k] * x[t - (K - 1) + k, c])
// where x[t] for t < 0 are the K - 1 values before this call.
//   u:       [T, stride] f32; channel c is column `offset` + c
//   weight:  [C, K] f32; the last tap multiplies the current token
//   state:   [C, K - 1] f32, oldest first
//   out:     [T, C] f32, or f16 (OUT_F16; C even then), saturating
// Precision: f32. A workgroup computes 128 channels of TOKENS tokens; a thread walks two neighbouring channels and keeps the last K - 1 inputs in registers,
// so that u is read (TOKENS + K - 1) / TOKENS times instead of K.
#include "common/dtype.wgsl"
#include "common/sigmoid.wgsl"

const K: u32 = 4u;
const TOKENS: u32 = 8u;
const OUT_F16: bool = false;

struct Params {
  tokens: u32,
  channels: u32,
  stride: u32,
  offset: u32,
}

@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

// x[position - (K - 1)] of channels c: the state and the sequence as one.
fn input_at(position: u32, c: vec2<u32>) -> vec2<f32> {
  if position < K - 1u {
    let at = c * (K - 1u) + position;
    return vec2<f32>(state[at.x], state[at.y]);
  }
  let at = (position - (K - 1u)) * params.stride + params.offset + c;
  return vec2<f32>(u[at.x], u[at.y]);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let first_channel = (workgroup.x * 64u + local) * 2u;
  if first_channel >= params.channels {
    return;
  }
  let c = min(vec2<u32>(first_channel, first_channel + 1u), vec2<u32>(params.channels - 1u));
  var taps: array<vec2<f32>, K>;
  var window: array<vec2<f32>, K>;
  let first = workgroup.y * TOKENS;
  for (var k = 0u; k < K; k++) {
    taps[k] = vec2<f32>(weight[c.x * K + k], weight[c.y * K + k]);
  }
  for (var k = 1u; k < K; k++) {
    window[k] = input_at(first + k - 1u, c);
  }
  for (var t = first; t < min(first + TOKENS, params.tokens); t++) {
    for (var k = 1u; k < K; k++) {
      window[k - 1u] = window[k];
    }
    window[K - 1u] = input_at(t + K - 1u, c);
    var sum = vec2<f32>();
    for (var k = 0u; k < K; k++) {
      sum += taps[k] * window[k];
    }
    let values = vec2<f32>(silu(sum.x), silu(sum.y));
    let at = t * params.channels + c;
    if OUT_F16 {
      out[at.x / 2u] = narrow_pair(values.x, values.y);
    } else {
      out[at.x] = bitcast<u32>(values.x);
      out[at.y] = bitcast<u32>(select(values.x, values.y, c.y > c.x));
    }
  }
}

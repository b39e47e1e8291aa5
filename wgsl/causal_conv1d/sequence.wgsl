// Causal depthwise convolution over a sequence, then SiLU:  y[t, c] = silu(sum_k weight[c, k] * x[t - (K - 1) + k, c])
// where x[t] for t < 0 are the K - 1 values before this call.
//   u:       [T, stride] f32; channel c is column `offset` + c
//   weight:  [C, K] f32; the last tap multiplies the current token
//   state:   [C, K - 1] f32, oldest first
//   out:     [T, C] f32
// Precision: f32. A workgroup computes 64 channels of TOKENS tokens; a thread walks one channel and keeps the last K - 1 inputs in registers,
// so that u is read (TOKENS + K - 1) / TOKENS times instead of K.
#include "common/sigmoid.wgsl"

const K: u32 = 4u;
const TOKENS: u32 = 8u;

struct Params {
  tokens: u32,
  channels: u32,
  stride: u32,
  offset: u32,
}

@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// x[position - (K - 1)] of channel c: the state and the sequence as one.
fn input_at(position: u32, c: u32) -> f32 {
  if position < K - 1u {
    return state[c * (K - 1u) + position];
  }
  return u[(position - (K - 1u)) * params.stride + params.offset + c];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let c = workgroup.x * 64u + local;
  if c >= params.channels {
    return;
  }
  var taps: array<f32, K>;
  var window: array<f32, K>;
  let first = workgroup.y * TOKENS;
  for (var k = 0u; k < K; k++) {
    taps[k] = weight[c * K + k];
  }
  for (var k = 1u; k < K; k++) {
    window[k] = input_at(first + k - 1u, c);
  }
  for (var t = first; t < min(first + TOKENS, params.tokens); t++) {
    for (var k = 1u; k < K; k++) {
      window[k - 1u] = window[k];
    }
    window[K - 1u] = input_at(t + K - 1u, c);
    var sum = 0.0;
    for (var k = 0u; k < K; k++) {
      sum += taps[k] * window[k];
    }
    out[t * params.channels + c] = silu(sum);
  }
}

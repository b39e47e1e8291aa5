// One token of the causal depthwise convolution with SiLU (sequence.wgsl), which also moves the state on by that token.
//   u:       [1, stride] f32; channel c is column `offset` + c
//   weight:  [C, K] f32
//   state:   [C, K - 1] f32, oldest first; updated in place
//   out:     [1, C] f32
// Precision: f32. One thread owns one channel with its state, so nobody else reads what it overwrites.
#include "common/sigmoid.wgsl"

const K: u32 = 4u;

struct Params {
  channels: u32,
  offset: u32,
}

@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let c = id.x;
  if c >= params.channels {
    return;
  }
  let history = c * (K - 1u);
  let current = u[params.offset + c];
  var sum = weight[c * K + K - 1u] * current;
  for (var k = 0u; k + 1u < K; k++) {
    let x = state[history + k];
    sum += weight[c * K + k] * x;
    if k > 0u {
      state[history + k - 1u] = x;
    }
  }
  state[history + K - 2u] = current;
  out[c] = silu(sum);
}

// Moves the state of a causal convolution on by a sequence: the last K - 1 of (state, u).
//   u:       [T, stride] f32; channel c is column `offset` + c
//   state:   [C, K - 1] f32, oldest first; updated in place
// One thread owns one channel. It reads state[k + T] only at or after the place it writes, so ascending order is safe in place.
const K: u32 = 4u;

struct Params {
  tokens: u32,
  channels: u32,
  stride: u32,
  offset: u32,
}

@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let c = id.x;
  if c >= params.channels {
    return;
  }
  for (var k = 0u; k < K - 1u; k++) {
    let position = params.tokens + k;
    var x: f32;
    if position < K - 1u {
      x = state[c * (K - 1u) + position];
    } else {
      x = u[(position - (K - 1u)) * params.stride + params.offset + c];
    }
    state[c * (K - 1u) + k] = x;
  }
}

// Fills a buffer with pseudorandom values: floats uniform in [-scale, scale), integers uniform over all 32 bits.
//   out: array of `words` words of DTYPE (two elements a word for f16 and bf16)
// One workgroup writes 256 words. Hash: PCG-RXS-M-XS of the word's index (Jarzynski, Olano, "Hash Functions for GPU Rendering", JCGT 2020).
#include "common/grid.wgsl"

const FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 integers

struct Params {
  words: u32,
  seed: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read_write> out: array<u32>;

fn hash(x: u32) -> u32 {
  let state = x * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}

// 16 random bits as a value in [-scale, scale).
fn uniform16(bits: u32) -> f32 {
  return (f32(bits & 0xffffu) / 32768.0 - 1.0) * params.scale;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = line_index(workgroup, counts) * 256u + local;
  if i >= params.words {
    return;
  }
  let bits = hash(i ^ hash(params.seed));
  let low = uniform16(bits);
  let high = uniform16(bits >> 16u);
  switch FORMAT {
    case 0u: { out[i] = bitcast<u32>((f32(bits >> 8u) / 8388608.0 - 1.0) * params.scale); }
    case 1u: { out[i] = pack2x16float(vec2<f32>(low, high)); }
    case 2u: { out[i] = (bitcast<u32>(low) >> 16u) | (bitcast<u32>(high) & 0xffff0000u); }
    default: { out[i] = bits; }
  }
}

// y[t, h, d] = a[t, h, d] * sigmoid(gate[t, h, d])
//
// a     [tokens, heads, dim]    f32
// gate  f32, element (t, h, d) at gate_offset + t * gate_token_stride + h * gate_head_stride + d
// y     [tokens, heads * dim]   f32 or f16 (OUT_F16; dim even then), saturating in f16; in blocks (common/blocks.wgsl) where OUT_BLOCKS, dim a multiple of 8
// Everything is computed in f32. One thread writes one word of y.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"
#include "common/sigmoid.wgsl"

const OUT_F16: bool = false;
const OUT_BLOCKS: bool = false;

struct Params {
  tokens: u32,
  heads: u32,
  dim: u32,
  gate_offset: u32,
  gate_token_stride: u32,
  gate_head_stride: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> gate: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

fn gated(i: u32) -> f32 {
  let vector = i / params.dim;
  let start = params.gate_offset + vector / params.heads * params.gate_token_stride + vector % params.heads * params.gate_head_stride;
  return a[i] * sigmoid(gate[start + i % params.dim]);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = line_index(workgroup, counts) * 256u + thread;
  let count = params.tokens * params.heads * params.dim;
  if OUT_BLOCKS {
    // Blocks of 16 rows by 4 words.
    let eighths = params.heads * params.dim / 8u;
    let row = word / 64u / eighths * 16u + word % 64u / 4u;
    let i = (row * eighths + word / 64u % eighths) * 8u + word % 4u * 2u;
    if row < params.tokens {
      y[word] = narrow_pair(gated(i), gated(i + 1u));
    }
  } else if OUT_F16 {
    if word < count / 2u {
      y[word] = narrow_pair(gated(2u * word), gated(2u * word + 1u));
    }
  } else if word < count {
    y[word] = bitcast<u32>(gated(word));
  }
}

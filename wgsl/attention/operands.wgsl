// The operands of attention, element by element in any dtype. What is computed and where elements lie: params.wgsl.
#include "attention/params.wgsl"

@group(0) @binding(0) var<storage, read> q: array<u32>;
@group(0) @binding(1) var<storage, read> k: array<u32>;
@group(0) @binding(2) var<storage, read> v: array<u32>;

// token counts from the first token of the first segment.
fn load_q(token: u32, head: u32, d: u32) -> f32 {
  let i = params.q_offset + token * params.q_token + head * params.q_head + d;
  return element(q[word_of(i, Q_DTYPE)], i, Q_DTYPE);
}

fn load_k(token: u32, head: u32, d: u32) -> f32 {
  let i = params.k_offset + token * params.k_token + head * params.k_head + d;
  return element(k[word_of(i, KV_DTYPE)], i, KV_DTYPE);
}

fn load_v(token: u32, head: u32, d: u32) -> f32 {
  let i = params.v_offset + token * params.v_token + head * params.v_head + d;
  return element(v[word_of(i, KV_DTYPE)], i, KV_DTYPE);
}

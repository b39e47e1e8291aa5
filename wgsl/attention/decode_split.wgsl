// Attention for one query (decoding), step 1 of 2, where query, keys and values are ready: decode_body.wgsl.
// q: f32 or f16, element (h, d) at params.q_offset + h * params.q_head + d.
#include "attention/decode_body.wgsl"

@group(0) @binding(0) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;

fn load_q(i: u32) -> Eight {
  if Q_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(q[i / 4u]), bitcast<vec4<f32>>(q[i / 4u + 1u]));
  }
  return Eight(widen_quad(q[i / 8u].xy, Q_DTYPE), widen_quad(q[i / 8u].zw, Q_DTYPE));
}

fn prepare(thread: u32, head0: u32, g: u32, has_newest: bool, position: u32) {
  for (var i = thread; i < GROUP * PIECES; i += THREADS) {
    let eight = load_q(params.q_offset + (head0 + i / PIECES) * params.q_head + (i % PIECES) * 8u);
    query[2u * i] = eight.low * params.scale;
    query[2u * i + 1u] = eight.high * params.scale;
  }
}

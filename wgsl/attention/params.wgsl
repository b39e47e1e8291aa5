// What all attention variants share: what they compute, and where the elements of their operands lie.
//   out[t, h, :] = sum_s softmax_s(scale * q[t, h, :] . k[s, g, :]) v[s, g, :]       g = h / (heads / kv_heads)
// Tokens come in params.segments equal segments that do not see each other: query_tokens queries and key_tokens keys in each.
// With CAUSAL, query t of a segment sees keys 0 .. t + key_tokens - query_tokens (earlier keys come from a cache).
// first and count: of the queries that the naive variant takes at a time; count: keys of a split (decoding); 0 elsewhere.
// q, k, v: f32 or f16, element (t, h, d) at offset + t * token stride + h * head stride + d. out: [T, heads, DIM] f32 or f16.
#include "common/dtype.wgsl"

const DIM: u32 = 64u;
const CAUSAL: bool = false;
const Q_DTYPE: u32 = 0u;
const KV_DTYPE: u32 = 0u;
const OUT_F16: bool = false;

struct Params {
  query_tokens: u32,
  key_tokens: u32,
  heads: u32,
  kv_heads: u32,
  q_offset: u32,
  q_token: u32,
  q_head: u32,
  k_offset: u32,
  k_token: u32,
  k_head: u32,
  v_offset: u32,
  v_token: u32,
  v_head: u32,
  scale: f32,
  first: u32,
  count: u32,
}

fn kv_head(head: u32) -> u32 {
  return head / (params.heads / params.kv_heads);
}

// Query tile and head of a workgroup; z is its segment. Causal rows differ in length: the longest of all heads come first (x: head, y: tile from the last one on),
// for none of them to begin when the others end. Else the tiles of a head run together (x: tile, y: head), since they read the same keys.
fn tile_and_head(group: vec3<u32>, groups: vec3<u32>) -> vec2<u32> {
  return select(group.xy, vec2<u32>(groups.y - 1u - group.y, group.x), CAUSAL);
}

// Number of keys that query t of a segment sees.
fn visible_keys(t: u32) -> u32 {
  if CAUSAL {
    return t + 1u + params.key_tokens - params.query_tokens;
  }
  return params.key_tokens;
}

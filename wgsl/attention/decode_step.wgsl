// Attention for one query (decoding), step 1 of 2, straight from the projection that its query, key and value come from (decode_body.wgsl): queries and
// the key go through an RMS norm and a rotary embedding (the formulas of head_norm_rope.wgsl: NORM 1, one block of HALF pairs), key and value join the cache.
// row: f32; query (h, d) at params.q_offset + h * params.q_head + d, key (g, d) at NEW_K + g * DIM + d, value at NEW_V likewise.
// k, v: the caches, f32 or f16, of which the last of the tokens seen is written here. q_norm, k_norm: f32 [DIM]. table: [rows, HALF] of (cos, sin), f32:
// row 0 is this token's, or with AT_CURSOR row cursor[1].
// Every workgroup prepares its own queries and the key that they share: half a microsecond of work, less than a dispatch of its own costs. In the chunk that
// ends with the newest token, they are used from workgroup memory; one workgroup a key head stores them, and what others read there meanwhile is dropped.
#include "attention/decode_body.wgsl"

const HALF: u32 = 0u;
const EPS: f32 = 1e-6;
const WEIGHT_OFFSET: f32 = 0.0;
const NEW_K: u32 = 0u;
const NEW_V: u32 = 0u;

@group(0) @binding(0) var<storage, read> row: array<f32>;
@group(0) @binding(1) var<storage, read_write> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> q_norm: array<f32>;
@group(0) @binding(6) var<storage, read> k_norm: array<f32>;
@group(0) @binding(7) var<storage, read> table: array<vec2<f32>>;

// As the cache holds them.
var<workgroup> new_key: array<vec4<f32>, DIM / 4u>;
var<workgroup> new_value: array<vec4<f32>, DIM / 4u>;

// Element d of a head in `sums`, of which the key is the last, normalised with the factor in `largest`.
fn normalised(h: u32, d: u32) -> f32 {
  let weight = WEIGHT_OFFSET + select(q_norm[d], k_norm[d], h == GROUP);
  return sums[h * DIM + d] * largest[h] * weight;
}

fn rotated(h: u32, d: u32, table_row: u32) -> f32 {
  let u = normalised(h, d);
  if d >= 2u * HALF {
    return u;
  }
  let angle = table[table_row * HALF + d % max(HALF, 1u)];
  if d < HALF {
    return u * angle.x - normalised(h, d + HALF) * angle.y;
  }
  return u * angle.x + normalised(h, d - HALF) * angle.y;
}

fn narrowed(value: vec4<f32>) -> vec2<u32> {
  return vec2<u32>(narrow_pair(value.x, value.y), narrow_pair(value.z, value.w));
}

fn as_cached(value: vec4<f32>) -> vec4<f32> {
  if KV_DTYPE == DTYPE_F32 {
    return value;
  }
  return widen_quad(narrowed(value), KV_DTYPE);
}

fn prepare(thread: u32, head0: u32, g: u32, has_newest: bool, position: u32) {
  for (var i = thread; i < (GROUP + 1u) * DIM; i += THREADS) {
    let h = i / DIM;
    sums[i] = row[select(params.q_offset + (head0 + h) * params.q_head, NEW_K + g * DIM, h == GROUP) + i % DIM];
  }
  for (var i = thread; i < DIM / 4u; i += THREADS) {
    let at = NEW_V + g * DIM + 4u * i;
    new_value[i] = as_cached(vec4<f32>(row[at], row[at + 1u], row[at + 2u], row[at + 3u]));
  }
  workgroupBarrier();
  if thread < (GROUP + 1u) * SEEKERS {
    var sum = 0.0;
    for (var d = thread % SEEKERS; d < DIM; d += SEEKERS) {
      let value = sums[(thread / SEEKERS) * DIM + d];
      sum += value * value;
    }
    found[thread] = sum;
  }
  workgroupBarrier();
  if thread < GROUP + 1u {
    var sum = 0.0;
    for (var i = 0u; i < SEEKERS; i++) {
      sum += found[thread * SEEKERS + i];
    }
    largest[thread] = inverseSqrt(sum / f32(DIM) + EPS);
  }
  workgroupBarrier();
  var table_row = 0u;
  if AT_CURSOR {
    table_row = cursor[1];
  }
  for (var i = thread; i < (GROUP + 1u) * DIM / 4u; i += THREADS) {
    let h = 4u * i / DIM;
    let d = 4u * i % DIM;
    let value = vec4<f32>(rotated(h, d, table_row), rotated(h, d + 1u, table_row), rotated(h, d + 2u, table_row), rotated(h, d + 3u, table_row));
    if h < GROUP {
      query[i] = value * params.scale;
    } else {
      new_key[d / 4u] = as_cached(value);
    }
  }
  workgroupBarrier();
  if has_newest && head0 % (params.heads / params.kv_heads) == 0u {
    for (var i = thread; i < PIECES; i += THREADS) {
      let k_at = params.k_offset + position * params.k_token + g * params.k_head + 8u * i;
      let v_at = params.v_offset + position * params.v_token + g * params.v_head + 8u * i;
      if KV_DTYPE == DTYPE_F32 {
        k[k_at / 4u] = bitcast<vec4<u32>>(new_key[2u * i]);
        k[k_at / 4u + 1u] = bitcast<vec4<u32>>(new_key[2u * i + 1u]);
        v[v_at / 4u] = bitcast<vec4<u32>>(new_value[2u * i]);
        v[v_at / 4u + 1u] = bitcast<vec4<u32>>(new_value[2u * i + 1u]);
      } else {
        k[k_at / 8u] = vec4<u32>(narrowed(new_key[2u * i]), narrowed(new_key[2u * i + 1u]));
        v[v_at / 8u] = vec4<u32>(narrowed(new_value[2u * i]), narrowed(new_value[2u * i + 1u]));
      }
    }
  }
}

fn newer_key(old: Eight, piece: u32, is_newest: bool) -> Eight {
  return Eight(select(old.low, new_key[2u * piece], is_newest), select(old.high, new_key[2u * piece + 1u], is_newest));
}

fn newer_value(old: Eight, piece: u32, is_newest: bool) -> Eight {
  return Eight(select(old.low, new_value[2u * piece], is_newest), select(old.high, new_value[2u * piece + 1u], is_newest));
}

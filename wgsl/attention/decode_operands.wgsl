// Keys and values of the decoding kernels, eight at a time: decode_body.wgsl and decode_step_subgroups.wgsl, which bind k and v as f32 or f16.
#include "attention/params.wgsl"

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

// Eight values as they lie in memory; f16 fill the first half.
struct Stored {
  first: vec4<u32>,
  second: vec4<u32>,
}

fn fetch_k(i: u32) -> Stored {
  if KV_DTYPE == DTYPE_F32 {
    return Stored(k[i / 4u], k[i / 4u + 1u]);
  }
  return Stored(k[i / 8u], vec4<u32>());
}

fn fetch_v(i: u32) -> Stored {
  if KV_DTYPE == DTYPE_F32 {
    return Stored(v[i / 4u], v[i / 4u + 1u]);
  }
  return Stored(v[i / 8u], vec4<u32>());
}

fn widen(stored: Stored) -> Eight {
  if KV_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(stored.first), bitcast<vec4<f32>>(stored.second));
  }
  return Eight(widen_quad(stored.first.xy, KV_DTYPE), widen_quad(stored.first.zw, KV_DTYPE));
}

fn stored(eight: Eight) -> Stored {
  if KV_DTYPE == DTYPE_F32 {
    return Stored(bitcast<vec4<u32>>(eight.low), bitcast<vec4<u32>>(eight.high));
  }
  let low = vec2<u32>(narrow_pair(eight.low.x, eight.low.y), narrow_pair(eight.low.z, eight.low.w));
  let high = vec2<u32>(narrow_pair(eight.high.x, eight.high.y), narrow_pair(eight.high.z, eight.high.w));
  return Stored(vec4<u32>(low, high), vec4<u32>());
}

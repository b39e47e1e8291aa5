// Penalised logits as order-preserving keys, and their maximum.
//   repetition: a token seen in the prompt or the output has its logit divided by the penalty where positive, multiplied where negative
//               (Keskar et al. 2019, "CTRL", as in Hugging Face transformers)
//   presence:   a token generated before has the penalty subtracted
//   logits:   [V] f32, as bits
//   history:  [V] u32: bit 0 occurred in the prompt, bit 1 generated; not read unless PENALISE
//   keys:     [V rounded up to 4] u32: order_key of the penalised logit; 0, which nothing keeps, for NaN, -infinity and beyond V
//   state:    see select.wgsl; zeroed before; word 0 receives the largest key
// +infinity becomes the largest finite f32, so that differences stay finite. Precision: f32. A workgroup prepares 1024 tokens.
#include "argmax/order.wgsl"

const PENALISE: bool = false;

struct Params {
  count: u32,
  repetition: f32,
  presence: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> history: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> keys: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> state: array<atomic<u32>>;

const LARGEST_KEY: u32 = 0xff7fffffu;
const MINUS_INFINITY_KEY: u32 = 0x007fffffu;

fn penalised(bits: u32, seen: u32) -> u32 {
  var key = min(order_key(bits), LARGEST_KEY);
  if key <= MINUS_INFINITY_KEY {
    return 0u;
  }
  if PENALISE && seen != 0u {
    var logit = key_value(key);
    logit = select(logit / params.repetition, logit * params.repetition, logit < 0.0);
    if (seen & 2u) != 0u {
      logit -= params.presence;
    }
    key = min(order_key(bitcast<u32>(logit)), LARGEST_KEY);
    if key <= MINUS_INFINITY_KEY {
      return 0u;
    }
  }
  return key;
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  var own = vec4<u32>(0u);
  if id.x * 4u < params.count {
    let bits = logits[id.x];
    var seen = vec4<u32>(0u);
    if PENALISE {
      seen = history[id.x];
    }
    for (var j = 0u; j < 4u; j++) {
      if id.x * 4u + j < params.count {
        own[j] = penalised(bits[j], seen[j]);
      }
    }
    keys[id.x] = own;
  }
  let largest = workgroup_largest(vec2<u32>(max(max(own.x, own.y), max(own.z, own.w)), 0u), local);
  if local == 0u {
    atomicMax(&state[0], largest.x);
  }
}

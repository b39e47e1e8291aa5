// Draws from the kept tokens by the Gumbel-max trick: the largest of (logit - largest logit) / temperature + g, g = -ln(-ln(u)), falls on each
// token with its softmax probability, so nothing has to be normalised or summed. temperature 0 draws the largest logit itself.
//   keys:       [V / 4] vec4<u32> (prepare.wgsl)
//   state:      see state.wgsl
//   candidates: [workgroups, 2] u32: each workgroup's best (order_key of the score, token); argmax/merge.wgsl finishes
//   threshold:  [1] u32: the smallest kept key
// Kept is what the searches' last step left, and min-p: a probability of at least e^`min_log` of the largest one.
//   cursor:     [2] u32: tokens seen, tokens drawn (kernels/cursor.ts)
// u comes from a hash of (seed, number of the draw, token), so a seed gives one text: pcg4d of Jarzynski, Olano, "Hash Functions for GPU Rendering",
// JCGT 2020. One workgroup looks at 4096 tokens.
#include "sample/state.wgsl"

struct Params {
  quads: u32,
  steps: u32,
  temperature: f32,
  min_log: f32,
  seed_low: u32,
  seed_high: u32,
}

@group(0) @binding(0) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> candidates: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> threshold: array<u32>;
@group(0) @binding(4) var<storage, read> cursor: array<u32>;

fn pcg4d(seed: vec4<u32>) -> vec4<u32> {
  var v = seed * 1664525u + 1013904223u;
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  v ^= v >> vec4<u32>(16u);
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  return v;
}

// -ln(-ln(1 - w)) for 32 random bits as w in (0, 1). A large one comes from a small w, where floats are dense; -ln(1 - w) needs its
// series there, because 1 - w rounds.
fn gumbel(bits: u32) -> f32 {
  let w = min((f32(bits) + 0.5) / 4294967296.0, 0.99999994);
  let exponential = select(-log(1.0 - w), w * (1.0 + w * (0.5 + w * (1.0 / 3.0 + 0.25 * w))), w < 0.01);
  return -log(exponential);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let largest_key = atomicLoad(&state[0]);
  let largest = key_value(largest_key);
  var least = 1u;
  if params.steps > 0u {
    let record = finish_step(params.steps - 1u, 0.0, local);
    least = max(least, record.prefix);
  }
  if params.min_log > -1e30 {
    least = max(least, min(largest_key, order_key(bitcast<u32>(largest + params.min_log * params.temperature))));
  }
  if workgroup.x == 0u && local == 0u {
    threshold[0] = least;
  }

  var best = vec2<u32>(0u, 0u);
  let first = workgroup.x * QUADS + local;
  for (var i = first; i < min(first + QUADS, params.quads); i += 256u) {
    let quad = keys[i];
    for (var j = 0u; j < 4u; j++) {
      let key = quad[j];
      let token = 4u * i + j;
      if key >= least {
        var score = key;
        if params.temperature > 0.0 {
          let value = key_value(key);
          if value < largest - 103.0 * params.temperature {
            continue; // out of reach of any g
          }
          let noise = gumbel(pcg4d(vec4<u32>(params.seed_low, params.seed_high, cursor[1], token)).x);
          score = order_key(bitcast<u32>((value - largest) / params.temperature + noise));
        }
        best = larger(best, vec2<u32>(score, token));
      }
    }
  }
  best = workgroup_largest(best, local);
  if local == 0u {
    candidates[workgroup.x] = best;
  }
}

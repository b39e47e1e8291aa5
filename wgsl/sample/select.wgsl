// One step of the search for the smallest kept key: a histogram of 8 bits of all keys that share the prefix found so far.
// Radix selection from the highest digit (Alabi et al. 2012, "Fast k-selection algorithms for GPUs"): four steps find the key at which
// a running sum from the largest key down reaches a goal. There are two such searches, each may be left out:
//   top-k (MASS = false): the sum counts tokens, the goal is k
//   top-p (MASS = true):  the sum is of probabilities among the tokens that top-k kept, the goal is the share p of all of them
// Equal keys are never parted. Integers only, so the result depends on no order of additions.
//   keys:   [V / 4] vec4<u32> (prepare.wgsl)
//   state:  see state.wgsl; every workgroup finishes the step before by itself, the first one writes down where this one begins
// A workgroup counts 4096 keys in workgroup memory, then adds its bins to the step's histogram.
#include "sample/state.wgsl"

const MASS: bool = false;

struct Params {
  quads: u32,
  step: u32,
  digit: u32,
  k: u32,
  p: f32,
  temperature: f32,
}

@group(0) @binding(0) var<storage, read> keys: array<vec4<u32>>;

var<workgroup> low: array<atomic<u32>, 256>;
var<workgroup> high: array<atomic<u32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  atomicStore(&low[local], 0u);
  atomicStore(&high[local], 0u);
  var record = Record(0u, vec2<u32>(params.k, 0u), 0u);
  if params.step > 0u {
    record = finish_step(params.step - 1u, select(0.0, params.p, MASS && params.digit == 1u), local);
    if params.digit == 0u {
      record = Record(0u, vec2<u32>(0u), record.prefix); // top-p begins above the key that top-k found
    }
  }
  workgroupBarrier();
  if workgroup.x == 0u && local == 0u {
    let begin = RECORDS + 4u * params.step;
    atomicStore(&state[begin], record.prefix);
    atomicStore(&state[begin + 1u], record.goal.x);
    atomicStore(&state[begin + 2u], record.goal.y);
    atomicStore(&state[begin + 3u], record.floor);
  }

  let largest = key_value(atomicLoad(&state[0]));
  let shift = 24u - 8u * params.digit;
  let first = workgroup.x * QUADS + local;
  for (var i = first; i < min(first + QUADS, params.quads); i += 256u) {
    let quad = keys[i];
    for (var j = 0u; j < 4u; j++) {
      let key = quad[j];
      let shares_prefix = params.digit == 0u || key >> (shift + 8u) == record.prefix;
      if shares_prefix && key >= record.floor {
        let bin = (key >> shift) & 255u;
        if MASS {
          add_mass(bin, fixed64(relative_probability(key, largest, params.temperature) * 4096.0));
        } else {
          atomicAdd(&low[bin], 1u);
        }
      }
    }
  }
  workgroupBarrier();
  let sum = vec2<u32>(atomicLoad(&low[local]), atomicLoad(&high[local]));
  let base = HISTOGRAMS + 512u * params.step;
  if sum.x > 0u {
    let before = atomicAdd(&state[base + local], sum.x);
    if before + sum.x < before {
      atomicAdd(&state[base + 256u + local], 1u);
    }
  }
  if sum.y > 0u {
    atomicAdd(&state[base + 256u + local], sum.y);
  }
}

// Adds to a bin; whoever makes the low word overflow carries.
fn add_mass(bin: u32, mass: vec2<u32>) {
  let before = atomicAdd(&low[bin], mass.x);
  let carried = mass.y + select(0u, 1u, before + mass.x < before);
  if carried > 0u {
    atomicAdd(&high[bin], carried);
  }
}

// State of the threshold search, shared by select.wgsl and draw.wgsl: u32 words.
//   0:                       largest key
//   RECORDS + 4 s .. + 3:    how search step s began: prefix, goal (low, high), floor
//   HISTOGRAMS + 512 s ..:   256 low, then 256 high words: the mass of each value of the step's 8 bits
// A mass is a 64-bit unsigned integer (low, high): a count, or a probability in units of 2^-44 of the largest one.
#include "argmax/order.wgsl"

// Vectors of four keys that one workgroup reads: enough that finishing the step before, which each does, costs little beside it.
const QUADS: u32 = 1024u;
const RECORDS: u32 = 16u;
const HISTOGRAMS: u32 = 64u;

@group(0) @binding(1) var<storage, read_write> state: array<atomic<u32>>;

fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn subtract64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn less64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// A non-negative x below 2^32 in units of 2^-32; exact.
fn fixed64(x: f32) -> vec2<u32> {
  let whole = floor(x);
  return vec2<u32>(u32((x - whole) * 4294967296.0), u32(whole));
}

// Probability of a key relative to the largest one, exp((value - largest) / temperature); 0 where that is below 1e-45.
fn relative_probability(key: u32, largest: f32, temperature: f32) -> f32 {
  let value = key_value(key);
  if key == 0u || value < largest - 103.0 * temperature {
    return 0.0;
  }
  return exp((value - largest) / temperature);
}

struct Record {
  prefix: u32,
  goal: vec2<u32>,
  floor: u32,
}

var<workgroup> suffix: array<vec2<u32>, 256>;
var<workgroup> chosen: Record;

// Finishes search step `step`: of the step's 256 bins, the highest whose mass together with all higher bins reaches the goal. Gives the
// longer prefix and what of the goal is left within that bin. With `share` > 0 the goal is that share of the step's whole mass.
fn finish_step(step: u32, share: f32, local: u32) -> Record {
  let base = HISTOGRAMS + 512u * step;
  let own = vec2<u32>(atomicLoad(&state[base + local]), atomicLoad(&state[base + 256u + local]));
  var sum = own;
  for (var distance = 1u; distance < 256u; distance <<= 1u) {
    suffix[local] = sum;
    workgroupBarrier();
    if local + distance < 256u {
      sum = add64(sum, suffix[local + distance]);
    }
    workgroupBarrier();
  }
  suffix[local] = sum;
  workgroupBarrier();

  let begin = RECORDS + 4u * step;
  let prefix = atomicLoad(&state[begin]) << 8u;
  let floor_key = atomicLoad(&state[begin + 3u]);
  var goal = vec2<u32>(atomicLoad(&state[begin + 1u]), atomicLoad(&state[begin + 2u]));
  if share > 0.0 {
    let whole = suffix[0];
    goal = fixed64((f32(whole.y) + f32(whole.x) / 4294967296.0) * share);
    goal = select(goal, whole, less64(whole, goal));
    goal.x = select(goal.x, 1u, all(goal == vec2<u32>(0u)));
  }
  let above = subtract64(sum, own);
  if local == 0u && less64(sum, goal) {
    chosen = Record(prefix, vec2<u32>(1u, 0u), floor_key); // fewer than were asked for: everything
  }
  if !less64(sum, goal) && less64(above, goal) {
    chosen = Record(prefix | local, subtract64(goal, above), floor_key);
  }
  workgroupBarrier();
  return chosen;
}

// Attention for one query (decoding), step 1 of 2: the keys are split over workgroups, so that a long cache is read by the whole GPU (Dao et al. 2023,
// Flash-Decoding). Each workgroup attends to CHUNK keys for GROUP query heads that share a key head, so that keys and values are read once for all of them.
// The file that includes this one binds q, k and v and fills `query`: decode_split.wgsl, decode_step.wgsl.
// Operands: params.wgsl with query_tokens = segments = 1; DIM, offsets and strides multiples of 8. k and v: f32 or f16, of one dtype.
// cursor: u32, only with AT_CURSOR: the query sees the tokens that cursor[0] says were seen, and itself (kernels/cursor.ts); params.key_tokens is then no
// more than the most it may be, and chunks beyond the last key end at once.
// partial: f32 [splits, heads, DIM + 2]: unnormalised outputs, then maximum score and sum of exponentials.
// One workgroup: one chunk for GROUP query heads (x: chunk, y: group), 256 threads. Scores: LANES threads a key, each with pieces of eight dims. Outputs: a
// piece of eight dims of one head a thread, from every PARTS-th key. All arithmetic in f32.
#include "attention/params.wgsl"

const GROUP: u32 = 4u; // a divisor of the query heads of a key head
const CHUNK: u32 = 64u;
const AT_CURSOR: bool = false;
const LANE_PIECES: u32 = 4u; // DIM / 8 / LANES, rounded up
const VALUES: u32 = 8u; // values that a thread has in flight

const LANES: u32 = 8u;
const THREADS: u32 = 256u;
const PIECES: u32 = DIM / 8u;
const UNITS: u32 = GROUP * PIECES;
const PARTS: u32 = max(1u, THREADS / UNITS);
// Threads that look for a head's maximum, and that add up its exponentials.
const SEEKERS: u32 = 16u;

@group(0) @binding(3) var<storage, read_write> partial: array<f32>;
@group(0) @binding(4) var<storage, read> cursor: array<u32>;

var<workgroup> query: array<vec4<f32>, GROUP * DIM / 4u>; // times params.scale
var<workgroup> scores: array<f32, GROUP * CHUNK>;
// One head more than GROUP, for what decode_step.wgsl does with its key.
var<workgroup> found: array<f32, (GROUP + 1u) * SEEKERS>;
var<workgroup> largest: array<f32, GROUP + 1u>;
// Sums of lanes on their way to scores, then outputs of the parts.
var<workgroup> sums: array<f32, max(THREADS * GROUP, max(PARTS * GROUP * DIM, (GROUP + 1u) * DIM))>;

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

fn load_k(i: u32) -> Eight {
  if KV_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(k[i / 4u]), bitcast<vec4<f32>>(k[i / 4u + 1u]));
  }
  let words = k[i / 8u];
  return Eight(widen_quad(words.xy, KV_DTYPE), widen_quad(words.zw, KV_DTYPE));
}

fn load_v(i: u32) -> Eight {
  if KV_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(v[i / 4u]), bitcast<vec4<f32>>(v[i / 4u + 1u]));
  }
  let words = v[i / 8u];
  return Eight(widen_quad(words.xy, KV_DTYPE), widen_quad(words.zw, KV_DTYPE));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head0 = group.y * GROUP;
  let g = kv_head(head0);
  let key0 = group.x * CHUNK;
  var key_tokens = params.key_tokens;
  if AT_CURSOR {
    key_tokens = cursor[0] + 1u;
  }
  if key0 >= key_tokens {
    return;
  }
  let keys = min(CHUNK, key_tokens - key0);
  prepare(thread, head0, g, key_tokens - key0 <= CHUNK, key_tokens - 1u);
  workgroupBarrier();

  let lane = thread % LANES;
  for (var first = 0u; first < CHUNK; first += THREADS / LANES) {
    // Keys and pieces beyond the end read the last ones and count for nothing: behind branches the loads would wait for one another.
    let key = first + thread / LANES;
    let base = params.k_offset + (key0 + min(key, keys - 1u)) * params.k_token + g * params.k_head;
#repeat j LANE_PIECES
    let piece_$j = min(lane + $ju * LANES, PIECES - 1u);
    let key_$j = load_k(base + piece_$j * 8u);
#end
    var products = array<f32, GROUP>();
#repeat j LANE_PIECES
    if lane + $ju * LANES < PIECES {
      for (var h = 0u; h < GROUP; h++) {
        let at = 2u * (h * PIECES + piece_$j);
        products[h] += dot(key_$j.low, query[at]) + dot(key_$j.high, query[at + 1u]);
      }
    }
#end
    for (var h = 0u; h < GROUP; h++) {
      sums[h * THREADS + thread] = products[h];
    }
    workgroupBarrier();
    for (var i = thread; i < GROUP * (THREADS / LANES); i += THREADS) {
      let h = i / (THREADS / LANES);
      let k_index = i % (THREADS / LANES);
      var sum = 0.0;
      for (var j = 0u; j < LANES; j++) {
        sum += sums[h * THREADS + k_index * LANES + j];
      }
      scores[h * CHUNK + first + k_index] = select(-3.0e38, sum, first + k_index < keys);
    }
    workgroupBarrier();
  }

  // The exponentials replace the scores.
  if thread < GROUP * SEEKERS {
    var most = -3.0e38;
    for (var s = thread % SEEKERS; s < keys; s += SEEKERS) {
      most = max(most, scores[(thread / SEEKERS) * CHUNK + s]);
    }
    found[thread] = most;
  }
  workgroupBarrier();
  if thread < GROUP {
    var most = -3.0e38;
    for (var i = 0u; i < SEEKERS; i++) {
      most = max(most, found[thread * SEEKERS + i]);
    }
    largest[thread] = most;
  }
  workgroupBarrier();
  for (var i = thread; i < GROUP * CHUNK; i += THREADS) {
    scores[i] = exp(scores[i] - largest[i / CHUNK]);
  }
  workgroupBarrier();
  if thread < GROUP * SEEKERS {
    var sum = 0.0;
    for (var s = thread % SEEKERS; s < keys; s += SEEKERS) {
      sum += scores[(thread / SEEKERS) * CHUNK + s];
    }
    found[thread] = sum;
  }

  for (var slot = thread; slot < PARTS * UNITS; slot += THREADS) {
    let part = slot / UNITS;
    let h = (slot % UNITS) / PIECES;
    let piece = slot % PIECES;
    let base = params.v_offset + key0 * params.v_token + g * params.v_head + piece * 8u;
    var low = vec4<f32>();
    var high = vec4<f32>();
    for (var s0 = part; s0 < keys; s0 += VALUES * PARTS) {
#repeat j VALUES
      let s_$j = min(s0 + $ju * PARTS, keys - 1u);
      let value_$j = load_v(base + s_$j * params.v_token);
#end
#repeat j VALUES
      let weight_$j = select(0.0, scores[h * CHUNK + s_$j], s0 + $ju * PARTS < keys);
      low += weight_$j * value_$j.low;
      high += weight_$j * value_$j.high;
#end
    }
    let at = (part * GROUP + h) * DIM + piece * 8u;
    for (var d = 0u; d < 4u; d++) {
      sums[at + d] = low[d];
      sums[at + d + 4u] = high[d];
    }
  }
  workgroupBarrier();
  for (var i = thread; i < GROUP * DIM; i += THREADS) {
    var sum = 0.0;
    for (var part = 0u; part < PARTS; part++) {
      sum += sums[part * GROUP * DIM + i];
    }
    partial[(group.x * params.heads + head0 + i / DIM) * (DIM + 2u) + i % DIM] = sum;
  }
  if thread < GROUP {
    var sum = 0.0;
    for (var i = 0u; i < SEEKERS; i++) {
      sum += found[thread * SEEKERS + i];
    }
    let at = (group.x * params.heads + head0 + thread) * (DIM + 2u) + DIM;
    partial[at] = largest[thread];
    partial[at + 1u] = sum;
  }
}

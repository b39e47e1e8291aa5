// Attention for one query (decoding), step 1 of 2: the keys are split over workgroups, so that a long cache is read by the whole GPU (Dao et al. 2023,
// Flash-Decoding). Each workgroup attends to CHUNK keys for GROUP query heads that share a key head, so that keys and values are read once for all of them.
// The file that includes this one binds q, k and v and fills `query`: decode_split.wgsl, decode_step.wgsl.
// Operands: params.wgsl with query_tokens = segments = 1; DIM, offsets and strides multiples of 8. k and v: f32 or f16, of one dtype.
// cursor: u32, only with AT_CURSOR: the query sees the tokens that cursor[0] says were seen, and itself (kernels/cursor.ts); params.key_tokens is then no
// more than the most it may be, and chunks beyond the last key end at once.
// partial: f32 [splits, heads, DIM + 2]: unnormalised outputs, then maximum score and sum of exponentials.
// One workgroup: one chunk for GROUP query heads (x: chunk, y: group), 256 threads. Scores: LANES threads a key, each with pieces of eight dims. Outputs: a
// piece of eight dims of all GROUP heads a thread, from every PARTS-th key. The keys and values of the next round travel while one is worked on, the first
// keys while the query is prepared and the first values while scores become probabilities. All arithmetic in f32.
#include "attention/decode_operands.wgsl"

const GROUP: u32 = 4u; // a divisor of the query heads of a key head
const CHUNK: u32 = 64u;
const AT_CURSOR: bool = false;
const LANE_PIECES: u32 = 4u; // DIM / 8 / LANES, rounded up
const VALUES: u32 = 4u; // values that a thread has in flight

const LANES: u32 = 8u;
const THREADS: u32 = 256u;
const KEYS: u32 = THREADS / LANES; // of a round
const PIECES: u32 = DIM / 8u;
const PARTS: u32 = THREADS / PIECES;
// Outputs on their way from parts to sums: dims 0, 8, 16, ... of a part beside each other, so that neither writing nor reading meets one bank many times.
const STRIDE: u32 = PIECES + min(4u, PIECES / 8u);
// Threads that look for a head's maximum, and that add up its exponentials.
const SEEKERS: u32 = 16u;

@group(0) @binding(3) var<storage, read_write> partial: array<f32>;
@group(0) @binding(4) var<storage, read> cursor: array<u32>;

var<workgroup> query: array<vec4<f32>, GROUP * DIM / 4u>; // times params.scale
var<workgroup> scores: array<f32, GROUP * CHUNK>;
// One head more than GROUP, for what decode_step.wgsl does with its key.
var<workgroup> found: array<f32, (GROUP + 1u) * SEEKERS>;
var<workgroup> largest: array<f32, GROUP + 1u>;
// Sums of lanes on their way to scores, then one head's outputs of the parts.
var<workgroup> sums: array<f32, max(THREADS * GROUP, max(PARTS * 8u * STRIDE, (GROUP + 1u) * DIM))>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head0 = group.y * GROUP;
  let g = kv_head(head0);
  let key0 = group.x * CHUNK;
  // Keys, values and pieces beyond the end read the last ones and count for nothing: behind branches the loads would wait for one another.
  let lane = thread % LANES;
  let own = thread / LANES;
  let k_base = params.k_offset + key0 * params.k_token + g * params.k_head;
  let first_key = min(own, params.key_tokens - 1u - key0) * params.k_token;
#repeat j LANE_PIECES
  let piece_$j = k_base + min(lane + $ju * LANES, PIECES - 1u) * 8u;
  var next_key_$j = fetch_k(piece_$j + first_key);
#end
  var key_tokens = params.key_tokens;
  if AT_CURSOR {
    key_tokens = cursor[0] + 1u;
  }
  if key0 >= key_tokens {
    return;
  }
  let keys = min(CHUNK, key_tokens - key0);
  let has_newest = key_tokens - key0 <= CHUNK;
  prepare(thread, head0, g, has_newest, key_tokens - 1u);
  workgroupBarrier();
  if has_newest {
#repeat j LANE_PIECES
    next_key_$j = fetch_k(piece_$j + min(own, keys - 1u) * params.k_token);
#end
  }

  for (var first = 0u; first < keys; first += KEYS) {
    let next = min(first + KEYS + own, keys - 1u) * params.k_token;
#repeat j LANE_PIECES
    let key_$j = widen(next_key_$j);
    next_key_$j = fetch_k(piece_$j + next);
#end
    var products = array<f32, GROUP>();
#repeat j LANE_PIECES
    if lane + $ju * LANES < PIECES {
      for (var h = 0u; h < GROUP; h++) {
        let at = 2u * (h * PIECES + lane + $ju * LANES);
        products[h] += dot(key_$j.low, query[at]) + dot(key_$j.high, query[at + 1u]);
      }
    }
#end
    for (var h = 0u; h < GROUP; h++) {
      sums[h * THREADS + thread] = products[h];
    }
    workgroupBarrier();
    for (var i = thread; i < GROUP * KEYS; i += THREADS) {
      let h = i / KEYS;
      let key = i % KEYS;
      var sum = 0.0;
      for (var j = 0u; j < LANES; j++) {
        sum += sums[h * THREADS + key * LANES + j];
      }
      if first + key < keys {
        scores[h * CHUNK + first + key] = sum;
      }
    }
    workgroupBarrier();
  }

  let piece = thread % PIECES;
  let part = thread / PIECES;
  let v_base = params.v_offset + key0 * params.v_token + g * params.v_head + piece * 8u;
#repeat j VALUES
  var next_value_$j = fetch_v(v_base + min(part + $ju * PARTS, keys - 1u) * params.v_token);
#end
  workgroupBarrier();

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

#repeat h GROUP
  var low_$h = vec4<f32>();
  var high_$h = vec4<f32>();
#end
  if part < PARTS {
    for (var s0 = part; s0 < keys; s0 += VALUES * PARTS) {
#repeat j VALUES
      let s_$j = min(s0 + $ju * PARTS, keys - 1u);
      let value_$j = widen(next_value_$j);
      next_value_$j = fetch_v(v_base + min(s0 + (VALUES + $ju) * PARTS, keys - 1u) * params.v_token);
#end
#repeat j VALUES
      let counts_$j = s0 + $ju * PARTS < keys;
#repeat h GROUP
      let weight_$j_$h = select(0.0, scores[$hu * CHUNK + s_$j], counts_$j);
      low_$h += weight_$j_$h * value_$j.low;
      high_$h += weight_$j_$h * value_$j.high;
#end
#end
    }
  }
#repeat h GROUP
  workgroupBarrier();
  if part < PARTS {
    let at = part * 8u * STRIDE + piece;
    for (var d = 0u; d < 4u; d++) {
      sums[at + d * STRIDE] = low_$h[d];
      sums[at + (d + 4u) * STRIDE] = high_$h[d];
    }
  }
  workgroupBarrier();
  for (var d = thread; d < DIM; d += THREADS) {
    var sum = 0.0;
    for (var p = 0u; p < PARTS; p++) {
      sum += sums[(p * 8u + d % 8u) * STRIDE + d / 8u];
    }
    partial[(group.x * params.heads + head0 + $hu) * (DIM + 2u) + d] = sum;
  }
#end
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

// Attention for one query (decoding), step 1 of 2: the keys are split over workgroups, so that a long cache is read by the whole GPU (Dao et al. 2023,
// Flash-Decoding). Each workgroup attends to CHUNK keys for all the query heads that share a key head, so that every key and value is read once.
// Operands: operands.wgsl with query_tokens = segments = 1.
// cursor: u32, only with AT_CURSOR: the query sees the tokens that cursor[0] says were seen, and itself (kernels/cursor.ts); params.key_tokens is then no more
// than the most it may be, and chunks beyond the last key end at once.
// partial: f32 [splits, heads, DIM], unnormalised outputs. stats: f32 [splits, heads, 2]: maximum score and sum of exponentials.
// One workgroup: one chunk for GROUP query heads of one key head (x: chunk, y: group), 256 threads: 8 threads a key for the scores, then a pair of dims a thread for the output.
#include "attention/operands.wgsl"

const GROUP: u32 = 4u; // a divisor of the query heads of a key head
const CHUNK: u32 = 64u;
const AT_CURSOR: bool = false;
const LANES: u32 = 8u;
const THREADS: u32 = 256u;

@group(0) @binding(3) var<storage, read_write> partial: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;
@group(0) @binding(5) var<storage, read> cursor: array<u32>;

var<workgroup> query: array<f32, GROUP * DIM>;
var<workgroup> lane_sums: array<f32, THREADS * GROUP>;
var<workgroup> scores: array<f32, GROUP * CHUNK>;

fn load_k_pair(token: u32, head: u32, d: u32) -> vec2<f32> {
  let i = params.k_offset + token * params.k_token + head * params.k_head + d;
  if KV_DTYPE == DTYPE_F32 {
    return vec2<f32>(bitcast<f32>(k[i]), bitcast<f32>(k[i + 1u]));
  }
  return widen_pair(k[i >> 1u], KV_DTYPE);
}

fn load_v_pair(token: u32, head: u32, d: u32) -> vec2<f32> {
  let i = params.v_offset + token * params.v_token + head * params.v_head + d;
  if KV_DTYPE == DTYPE_F32 {
    return vec2<f32>(bitcast<f32>(v[i]), bitcast<f32>(v[i + 1u]));
  }
  return widen_pair(v[i >> 1u], KV_DTYPE);
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
  for (var i = thread; i < GROUP * DIM; i += THREADS) {
    query[i] = load_q(0u, head0 + i / DIM, i % DIM) * params.scale;
  }
  workgroupBarrier();

  let lane = thread % LANES;
  for (var first = 0u; first < CHUNK; first += THREADS / LANES) {
    let key = first + thread / LANES;
    var sums = array<f32, GROUP>();
    if key < keys {
      for (var d = 2u * lane; d < DIM; d += 2u * LANES) {
        let pair = load_k_pair(key0 + key, g, d);
        for (var h = 0u; h < GROUP; h++) {
          sums[h] += pair.x * query[h * DIM + d] + pair.y * query[h * DIM + d + 1u];
        }
      }
    }
    for (var h = 0u; h < GROUP; h++) {
      lane_sums[h * THREADS + thread] = sums[h];
    }
    workgroupBarrier();
    for (var i = thread; i < GROUP * (THREADS / LANES); i += THREADS) {
      let h = i / (THREADS / LANES);
      let k_index = i % (THREADS / LANES);
      var sum = 0.0;
      for (var j = 0u; j < LANES; j++) {
        sum += lane_sums[h * THREADS + k_index * LANES + j];
      }
      scores[h * CHUNK + first + k_index] = select(-3.0e38, sum, first + k_index < keys);
    }
    workgroupBarrier();
  }

  // Every thread of a head finds the same maximum; the exponentials replace the scores.
  var largest = array<f32, GROUP>();
  for (var h = 0u; h < GROUP; h++) {
    largest[h] = -3.0e38;
    for (var s = 0u; s < keys; s++) {
      largest[h] = max(largest[h], scores[h * CHUNK + s]);
    }
  }
  workgroupBarrier();
  for (var i = thread; i < GROUP * CHUNK; i += THREADS) {
    scores[i] = exp(scores[i] - largest[i / CHUNK]);
  }
  workgroupBarrier();

  for (var d = 2u * thread; d < DIM; d += 2u * THREADS) {
    var sums = array<vec2<f32>, GROUP>();
    for (var s = 0u; s < keys; s++) {
      let pair = load_v_pair(key0 + s, g, d);
      for (var h = 0u; h < GROUP; h++) {
        sums[h] += scores[h * CHUNK + s] * pair;
      }
    }
    for (var h = 0u; h < GROUP; h++) {
      let at = (group.x * params.heads + head0 + h) * DIM + d;
      partial[at] = sums[h].x;
      partial[at + 1u] = sums[h].y;
    }
  }
  if thread < GROUP {
    var sum = 0.0;
    for (var s = 0u; s < keys; s++) {
      sum += scores[thread * CHUNK + s];
    }
    let at = (group.x * params.heads + head0 + thread) * 2u;
    stats[at] = largest[thread];
    stats[at + 1u] = sum;
  }
}

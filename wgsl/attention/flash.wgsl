// Attention, second rung: the scores are never stored. Keys stream past a tile of queries while the softmax is kept up to date: a running
// maximum and sum per query, and outputs rescaled whenever the maximum grows (Milakov and Gimelshein 2018; Dao et al. 2022, FlashAttention).
// Operands: operands.wgsl. out: [T, heads, DIM] f32 or f16. DIM even, at most 512. All arithmetic in f32.
// One workgroup: 32 queries of one head of one segment (tile_and_head in params.wgsl), 256 threads. For each tile of 64 keys:
//   scores: each thread 2 queries x 4 keys, q and k staged through workgroup memory 16 dims at a time;
//   softmax: 8 threads a query; output: each thread 4 queries x DIM/32 dims, accumulated in registers.
#include "attention/operands.wgsl"

const QUERIES: u32 = 32u;
const KEYS: u32 = 64u;
const CHUNK: u32 = 16u;
// A staged row is 4 vec4 and one of padding, so that threads in neighbouring rows read from different banks.
const STRIDE: u32 = 5u;
const DIMS_PER_THREAD: u32 = (DIM + 31u) / 32u;

@group(0) @binding(3) var<storage, read_write> out: array<u32>;

var<workgroup> q_tile: array<vec4<f32>, QUERIES * STRIDE>;
var<workgroup> k_tile: array<vec4<f32>, KEYS * STRIDE>;
var<workgroup> p_tile: array<f32, QUERIES * KEYS>;
var<workgroup> row_scale: array<f32, QUERIES>;
var<workgroup> row_partial: array<f32, 256>;

fn load_q_quad(segment: u32, t: u32, head: u32, d: u32) -> vec4<f32> {
  var quad = vec4<f32>();
  if t < params.query_tokens {
    for (var i = 0u; i < 4u; i++) {
      if d + i < DIM {
        quad[i] = load_q(segment * params.query_tokens + t, head, d + i);
      }
    }
  }
  return quad;
}

fn load_k_quad(segment: u32, s: u32, head: u32, d: u32) -> vec4<f32> {
  var quad = vec4<f32>();
  if s < params.key_tokens {
    for (var i = 0u; i < 4u; i++) {
      if d + i < DIM {
        quad[i] = load_k(segment * params.key_tokens + s, head, d + i);
      }
    }
  }
  return quad;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let here = tile_and_head(group, groups);
  let query0 = here.x * QUERIES;
  let head = here.y;
  let segment = group.z;
  let g = kv_head(head);

  // Scores: this thread's keys and queries. Softmax: 8 threads to a query. Output: 4 queries, every 32nd dim.
  let score_key = thread % 16u;
  let score_query = thread / 16u;
  let soft_query = thread / 8u;
  let soft_lane = thread % 8u;
  let out_dim = thread % 32u;
  let out_query = (thread / 32u) * 4u;

  var largest = -3.0e38;
  var total = 0.0;
  var sums: array<vec4<f32>, DIMS_PER_THREAD>; // one component a query

  let keys = min(params.key_tokens, visible_keys(query0 + QUERIES - 1u));
  for (var key0 = 0u; key0 < keys; key0 += KEYS) {
    var scores = array<f32, 8>();
    for (var d0 = 0u; d0 < DIM; d0 += CHUNK) {
      for (var i = thread; i < (QUERIES + KEYS) * 4u; i += 256u) {
        let row = i / 4u;
        let d = d0 + (i % 4u) * 4u;
        if row < QUERIES {
          q_tile[row * STRIDE + i % 4u] = load_q_quad(segment, query0 + row, head, d);
        } else {
          k_tile[(row - QUERIES) * STRIDE + i % 4u] = load_k_quad(segment, key0 + row - QUERIES, g, d);
        }
      }
      workgroupBarrier();
      for (var d = 0u; d < CHUNK / 4u; d++) {
        let q0 = q_tile[score_query * STRIDE + d];
        let q1 = q_tile[(score_query + 16u) * STRIDE + d];
        for (var j = 0u; j < 4u; j++) {
          let key = k_tile[(score_key + 16u * j) * STRIDE + d];
          scores[j] += dot(q0, key);
          scores[4u + j] += dot(q1, key);
        }
      }
      workgroupBarrier();
    }
    for (var i = 0u; i < 8u; i++) {
      let row = score_query + 16u * (i / 4u);
      let column = score_key + 16u * (i % 4u);
      let t = min(query0 + row, params.query_tokens - 1u);
      p_tile[row * KEYS + column] = select(-3.0e38, scores[i] * params.scale, key0 + column < visible_keys(t));
    }
    workgroupBarrier();

    var tile_largest = largest;
    for (var i = 0u; i < KEYS / 8u; i++) {
      tile_largest = max(tile_largest, p_tile[soft_query * KEYS + soft_lane + 8u * i]);
    }
    row_partial[thread] = tile_largest;
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) {
      tile_largest = max(tile_largest, row_partial[soft_query * 8u + i]);
    }
    let rescale = exp(largest - tile_largest);
    largest = tile_largest;
    var tile_sum = 0.0;
    for (var i = 0u; i < KEYS / 8u; i++) {
      let at = soft_query * KEYS + soft_lane + 8u * i;
      let e = exp(p_tile[at] - largest);
      p_tile[at] = e;
      tile_sum += e;
    }
    total = total * rescale + tile_sum; // this lane's share of the sum
    if soft_lane == 0u {
      row_scale[soft_query] = rescale;
    }
    workgroupBarrier();

    let scale = vec4<f32>(row_scale[out_query], row_scale[out_query + 1u], row_scale[out_query + 2u], row_scale[out_query + 3u]);
    for (var i = 0u; i < DIMS_PER_THREAD; i++) {
      sums[i] *= scale;
    }
    let count = min(KEYS, params.key_tokens - key0);
    for (var s = 0u; s < count; s++) {
      let p = vec4<f32>(
        p_tile[out_query * KEYS + s],
        p_tile[(out_query + 1u) * KEYS + s],
        p_tile[(out_query + 2u) * KEYS + s],
        p_tile[(out_query + 3u) * KEYS + s],
      );
      for (var i = 0u; i < DIMS_PER_THREAD; i++) {
        if out_dim + 32u * i < DIM {
          sums[i] += p * load_v(segment * params.key_tokens + key0 + s, g, out_dim + 32u * i);
        }
      }
    }
    workgroupBarrier();
  }

  row_partial[thread] = total;
  workgroupBarrier();
  if soft_lane == 0u {
    var sum = 0.0;
    for (var i = 0u; i < 8u; i++) {
      sum += row_partial[thread + i];
    }
    row_scale[soft_query] = 1.0 / sum;
  }
  workgroupBarrier();
  // Through workgroup memory once more, so that 16-bit results are stored as whole words: p_tile holds 64 dims of all queries at a time.
  for (var d0 = 0u; d0 < DIM; d0 += 64u) {
    for (var i = 0u; i < DIMS_PER_THREAD; i++) {
      let d = out_dim + 32u * i;
      if d >= d0 && d < d0 + 64u {
        for (var r = 0u; r < 4u; r++) {
          p_tile[(out_query + r) * KEYS + d - d0] = sums[i][r] * row_scale[out_query + r];
        }
      }
    }
    workgroupBarrier();
    for (var i = thread; i < QUERIES * 32u; i += 256u) {
      let row = i / 32u;
      let d = d0 + (i % 32u) * 2u;
      if query0 + row < params.query_tokens && d < DIM {
        let at = ((segment * params.query_tokens + query0 + row) * params.heads + head) * DIM + d;
        let pair = vec2<f32>(p_tile[row * KEYS + d - d0], p_tile[row * KEYS + d - d0 + 1u]);
        if OUT_F16 {
          out[at >> 1u] = narrow_pair(pair.x, pair.y);
        } else {
          out[at] = bitcast<u32>(pair.x);
          out[at + 1u] = bitcast<u32>(pair.y);
        }
      }
    }
    workgroupBarrier();
  }
}

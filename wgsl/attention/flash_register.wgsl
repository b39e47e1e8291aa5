// Attention, third rung: flash.wgsl with both products in registers, for operands whose dim, offsets and strides are multiples of 4. DIM at most 256.
// q, k, v: f32 or f16. out: [T, heads, DIM] f32 or f16. What is computed and where elements lie: params.wgsl. All arithmetic in f32.
// One workgroup: 64 queries of one head of one segment (tile_and_head in params.wgsl), 16 x 8 threads, 32 keys at a time.
//   scores: a thread has queries y + 16 r and keys 4 x + c (r, c < 4), from tiles of 16 dims of both;
//   softmax in powers of two: the eight threads of a query exchange their largest scores, each keeps its share of the sum;
//   output: a thread has the same queries and quads x + 8 j of their dims (j < OUT_QUADS), from V_KEYS values at a time.
// What comes next travels from memory while what is there is in use. Eight threads that read or write together touch eight different banks: rows of tiles are
// padded or rotated, and keys are stored in the order in which they are read. Workgroup memory is kept below 16 KB, so that three workgroups fit on a processor.
#include "attention/params.wgsl"

const OUT_QUADS: u32 = 2u; // DIM / 32, rounded up to a power of two
const V_KEYS: u32 = 16u;   // 32 / OUT_QUADS
const V_ROW: u32 = 8u * OUT_QUADS;

const QUERIES: u32 = 64u;
const KEYS: u32 = 32u;
const THREADS: u32 = 128u;
const QUADS: u32 = DIM / 4u;
const CHUNK: u32 = 4u; // quads of dims at a time
const STRIDE: u32 = 5u;
const K_START: u32 = QUERIES * STRIDE;
const EXCHANGE: u32 = 256u; // behind the values, which take 256 quads
const NOTHING: f32 = -3.0e38; // a score that gets no weight

@group(0) @binding(0) var<storage, read> q: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> k: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec2<u32>>;

// Queries and keys, or values and what the threads of a query exchange.
var<workgroup> stage: array<vec4<f32>, (QUERIES + KEYS) * STRIDE>;
// Probabilities, four keys a quad; quad i of a row lies at (i + row) % 8.
var<workgroup> p_tile: array<vec4<f32>, QUERIES * KEYS / 4u>;

fn q_quad(i: u32) -> vec4<f32> {
  if Q_DTYPE == DTYPE_F32 {
    return bitcast<vec4<f32>>(vec4<u32>(q[i / 2u], q[i / 2u + 1u]));
  }
  return widen_quad(q[i / 4u], Q_DTYPE);
}

fn k_quad(i: u32) -> vec4<f32> {
  if KV_DTYPE == DTYPE_F32 {
    return bitcast<vec4<f32>>(vec4<u32>(k[i / 2u], k[i / 2u + 1u]));
  }
  return widen_quad(k[i / 4u], KV_DTYPE);
}

fn v_quad(i: u32) -> vec4<f32> {
  if KV_DTYPE == DTYPE_F32 {
    return bitcast<vec4<f32>>(vec4<u32>(v[i / 2u], v[i / 2u + 1u]));
  }
  return widen_quad(v[i / 4u], KV_DTYPE);
}

fn store(at: u32, values: vec4<f32>) {
  if OUT_F16 {
    out[at / 4u] = vec2<u32>(narrow_pair(values.x, values.y), narrow_pair(values.z, values.w));
  } else {
    out[at / 2u] = bitcast<vec2<u32>>(values.xy);
    out[at / 2u + 1u] = bitcast<vec2<u32>>(values.zw);
  }
}

// What the eight threads of this thread's queries left in the exchange.
fn largest_of_all(y: u32) -> vec4<f32> {
  var largest = stage[EXCHANGE + 8u * y];
  for (var i = 1u; i < 8u; i++) {
    largest = max(largest, stage[EXCHANGE + 8u * y + i]);
  }
  return largest;
}

fn sum_of_all(y: u32) -> vec4<f32> {
  var sum = vec4<f32>();
  for (var i = 0u; i < 8u; i++) {
    sum += stage[EXCHANGE + 8u * y + i];
  }
  return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let here = tile_and_head(group, groups);
  let query0 = here.x * QUERIES;
  let head = here.y;
  let segment = group.z;
  let x = thread % 8u;
  let y = thread / 8u;
  let last_query = params.query_tokens - 1u;
  let last_key = params.key_tokens - 1u;
  let k_base = params.k_offset + segment * params.key_tokens * params.k_token + kv_head(head) * params.k_head;
  let v_base = params.v_offset + segment * params.key_tokens * params.v_token + kv_head(head) * params.v_head;
  let log2_scale = params.scale * 1.4426950408889634;
#repeat r 4
  let visible_$r = visible_keys(min(query0 + y + 16u * $ru, last_query));
#end

  // The thread's pieces: two quads of queries, one of keys and two of values. Rows beyond the end repeat the last one, dims beyond it are zero.
  let row = thread / CHUNK;
  let quad = thread % CHUNK;
#repeat i 2
  let q_base_$i = params.q_offset + (segment * params.query_tokens + min(query0 + row + 32u * $iu, last_query)) * params.q_token + head * params.q_head;
  let v_row_$i = (thread + $iu * THREADS) / V_ROW;
  let v_from_$i = v_base + 4u * min((thread + $iu * THREADS) % V_ROW, QUADS - 1u);
#end
  let key_place = K_START + (row % 4u * 8u + row / 4u) * STRIDE + quad;
  let quad_inside = 4u * min(quad, QUADS - 1u);
#repeat i 2
  var q_next_$i = q_quad(q_base_$i + quad_inside);
#end
  var k_next = k_quad(k_base + min(row, last_key) * params.k_token + quad_inside);

  var largest = vec4<f32>(NOTHING);
  var total = vec4<f32>(); // this thread's share
#repeat r 4
#repeat j OUT_QUADS
  var sum_$r_$j = vec4<f32>();
#end
#end
  let keys = min(params.key_tokens, visible_keys(min(query0 + QUERIES - 1u, last_query)));
  for (var key0 = 0u; key0 < keys; key0 += KEYS) {
#repeat i 2
    var v_next_$i = v_quad(v_from_$i + min(key0 + v_row_$i, last_key) * params.v_token);
#end
#repeat r 4
#repeat c 4
    var score_$r_$c = 0.0;
#end
#end
    for (var first = 0u; first < QUADS; first += CHUNK) {
      let inside = first + quad < QUADS;
#repeat i 2
      stage[(row + 32u * $iu) * STRIDE + quad] = select(vec4<f32>(), q_next_$i, inside);
#end
      stage[key_place] = select(vec4<f32>(), k_next, inside);
      workgroupBarrier();
      let is_last = first + CHUNK >= QUADS;
      let next_quad = 4u * min(select(first + CHUNK, 0u, is_last) + quad, QUADS - 1u);
      let next_key = min(select(key0, key0 + KEYS, is_last) + row, last_key);
#repeat i 2
      q_next_$i = q_quad(q_base_$i + next_quad);
#end
      k_next = k_quad(k_base + next_key * params.k_token + next_quad);
      for (var d = 0u; d < CHUNK; d++) {
#repeat r 4
        let q_$r = stage[(y + 16u * $ru) * STRIDE + d];
#end
#repeat c 4
        {
          let key = stage[K_START + (8u * $cu + x) * STRIDE + d];
#repeat r 4
          score_$r_$c = fma(q_$r.x, key.x, score_$r_$c);
          score_$r_$c = fma(q_$r.y, key.y, score_$r_$c);
          score_$r_$c = fma(q_$r.z, key.z, score_$r_$c);
          score_$r_$c = fma(q_$r.w, key.w, score_$r_$c);
#end
        }
#end
      }
      workgroupBarrier();
    }

#repeat r 4
    let scores_$r = select(
      vec4<f32>(NOTHING),
      log2_scale * vec4<f32>(score_$r_0, score_$r_1, score_$r_2, score_$r_3),
      vec4<u32>(0u, 1u, 2u, 3u) + key0 + 4u * x < vec4<u32>(visible_$r),
    );
    let most_$r = max(max(scores_$r.x, scores_$r.y), max(scores_$r.z, scores_$r.w));
#end
    stage[EXCHANGE + thread] = vec4<f32>(most_0, most_1, most_2, most_3);
    workgroupBarrier();
    let moved = max(largest, largest_of_all(y));
    let rescale = exp2(largest - moved);
    largest = moved;
    total *= rescale;
#repeat r 4
    {
      let p = exp2(scores_$r - largest[$r]);
      total[$r] += p.x + p.y + p.z + p.w;
      p_tile[(y + 16u * $ru) * 8u + (x + y) % 8u] = p;
    }
#repeat j OUT_QUADS
    sum_$r_$j *= rescale[$r];
#end
#end

    for (var first = 0u; first < KEYS; first += V_KEYS) {
#repeat i 2
      stage[thread + $iu * THREADS] = v_next_$i;
#end
      workgroupBarrier();
#repeat i 2
      v_next_$i = v_quad(v_from_$i + min(key0 + first + V_KEYS + v_row_$i, last_key) * params.v_token);
#end
      for (var four = 0u; four < V_KEYS / 4u; four++) {
#repeat r 4
        let p_$r = p_tile[(y + 16u * $ru) * 8u + (first / 4u + four + y) % 8u];
#end
#repeat s 4
#repeat j OUT_QUADS
        {
          let values = stage[(4u * four + $su) * V_ROW + x + 8u * $ju];
#repeat r 4
          sum_$r_$j = fma(vec4<f32>(p_$r[$s]), values, sum_$r_$j);
#end
        }
#end
#end
      }
      workgroupBarrier();
    }
  }

  stage[EXCHANGE + thread] = total;
  workgroupBarrier();
  let inverse = 1.0 / sum_of_all(y);
#repeat r 4
  {
    let t = query0 + y + 16u * $ru;
    let at = ((segment * params.query_tokens + t) * params.heads + head) * DIM;
#repeat j OUT_QUADS
    if t < params.query_tokens && x + 8u * $ju < QUADS {
      store(at + 4u * (x + 8u * $ju), inverse[$r] * sum_$r_$j);
    }
#end
  }
#end
}

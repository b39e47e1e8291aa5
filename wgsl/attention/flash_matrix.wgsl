// Attention, third rung: the flash algorithm with both products on subgroup matrices (tensor cores), f16 operands and f32 sums.
// Operands: params.wgsl, all f16, offsets and strides multiples of 8. out: [T, heads, DIM] f32 or f16. DIM a multiple of 8.
// Matrices are opaque, so scores pass through workgroup memory to become probabilities. They are computed transposed, S^T = K Q^T: a lane then owns a query
// (or, with 16 queries a subgroup, two lanes share one) and finds its maximum and sum without asking its neighbours. Outputs cannot be rescaled in place
// either: the running maximum only moves when a score exceeds it by more than LEAD powers of two (2^12 still fits f16 probabilities); then, rarely, they take
// the same detour. Softmax in powers of two: exp2((s - max) * scale * log2(e)).
// One workgroup: SUBGROUPS * MATRICES * 16 queries of one head of one segment (x: query tile, the longest rows first; y: head; z: segment); KEYS keys at a time.
// The next keys and values travel from memory while the present ones are in use. Tiles are small on purpose: the cards measured keep several workgroups on a
// processor only while these share some 50 KB, and one workgroup's products then overlap another's exponentials.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "attention/params.wgsl"

const KEYS: u32 = 16u;
const SUBGROUP: u32 = 32u;
const SUBGROUPS: u32 = 4u;
const MATRICES: u32 = 2u; // of 16 queries a subgroup: 1 or 2
const DIM_MATRICES: u32 = 4u; // DIM / 16, rounded up
const VALUE_TILES: u32 = 2u; // 2: the next values arrive while the present ones are in use; 1: in between
const SCORE_STRIDE: u32 = 40u; // words of a row of scores, at least 16 * MATRICES
const P_STRIDE: u32 = 3u; // vec4s of a row of probabilities, at least KEYS / 8
const LEAD: f32 = 12.0;

const THREADS: u32 = SUBGROUP * SUBGROUPS;
const LANES: u32 = 16u * MATRICES; // queries of a subgroup
const QUERIES: u32 = LANES * SUBGROUPS;
const KEY_MATRICES: u32 = KEYS / 16u;
const QUADS: u32 = DIM_MATRICES * 2u; // vec4s (of 8 halves) in a row of a tile
const STRIDE: u32 = QUADS + 1u;       // one of padding spreads the banks
const PIECES: u32 = KEYS * QUADS;
const LOADS: u32 = 1u; // PIECES / THREADS, rounded up
const EVEN: bool = PIECES == LOADS * THREADS;
const SCORES: u32 = KEYS * SCORE_STRIDE;
const LANE_KEYS: u32 = KEYS * LANES / SUBGROUP; // scores of a lane
const LANE_QUADS: u32 = LANE_KEYS / 8u;
const QUERY_ROUNDS: u32 = QUERIES / KEYS;

@group(0) @binding(0) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

var<workgroup> k_tile: array<vec4<u32>, KEYS * STRIDE>;
var<workgroup> v_tile: array<vec4<u32>, VALUE_TILES * KEYS * STRIDE>;
// S^T of each subgroup, [key, query]; also its 16x16 outputs on their detour.
var<workgroup> scores: array<f32, SUBGROUPS * SCORES>;
// Probabilities of each subgroup, [query, key], 8 halves a vec4.
var<workgroup> probabilities: array<vec4<u32>, SUBGROUPS * LANES * P_STRIDE>;
var<workgroup> grown: array<u32, SUBGROUPS>;

// Eight elements of a row of q; zero beyond the last query or dim.
fn q_piece(segment: u32, t: u32, head: u32, quad: u32) -> vec4<u32> {
  if t >= params.query_tokens || quad * 8u >= DIM {
    return vec4<u32>();
  }
  return q[(params.q_offset + (segment * params.query_tokens + t) * params.q_token + head * params.q_head) / 8u + quad];
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let query0 = select(group.x, groups.x - 1u - group.x, CAUSAL) * QUERIES;
  let head = group.y;
  let segment = group.z;
  let g = kv_head(head);
  let score0 = subgroup * SCORES;
  let p0 = subgroup * LANES * P_STRIDE;
  // The lane's query, and which of its keys: all, or with two lanes a query every other eight.
  let query = lane % LANES;
  let half = lane / LANES;
  let t = query0 + subgroup * LANES + query;
  let visible = select(0u, visible_keys(min(t, params.query_tokens - 1u)), t < params.query_tokens);
  let visible_to_all = visible_keys(query0);
  let log2_scale = params.scale * 1.4426950408889634;

#repeat m MATRICES
#repeat d DIM_MATRICES
  var query_$m_$d = subgroup_matrix_right<f16, 16, 16>();
  var sum_$m_$d = subgroup_matrix_result<f32, 16, 16>();
#end
#end
  // Queries pass through the tile of keys, KEYS rows at a time.
#repeat round QUERY_ROUNDS
  for (var at = thread; at < PIECES; at += THREADS) {
    k_tile[(at / QUADS) * STRIDE + at % QUADS] = q_piece(segment, query0 + $roundu * KEYS + at / QUADS, head, at % QUADS);
  }
  workgroupBarrier();
#repeat m MATRICES
  if (subgroup * MATRICES + $mu) / KEY_MATRICES == $roundu {
#repeat d DIM_MATRICES
    query_$m_$d = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&k_tile, ((subgroup * MATRICES + $mu) % KEY_MATRICES) * 16u * STRIDE + $du * 2u, STRIDE);
#end
  }
#end
  workgroupBarrier();
#end

  var largest = -3.0e38;
  var total = 0.0;
  let keys = min(params.key_tokens, visible_keys(query0 + QUERIES - 1u));
  // Keys beyond the last one repeat it: they get no weight. Dims beyond the last one are zero.
  let last = params.key_tokens - 1u;
  let k_base = (params.k_offset + segment * params.key_tokens * params.k_token + g * params.k_head) / 8u;
  let v_base = (params.v_offset + segment * params.key_tokens * params.v_token + g * params.v_head) / 8u;
  let k_step = params.k_token / 8u;
  let v_step = params.v_token / 8u;
#repeat i LOADS
  let piece_$i = min(thread + $iu * THREADS, PIECES - 1u);
  let row_$i = piece_$i / QUADS;
  let quad_$i = piece_$i % QUADS;
  let place_$i = row_$i * STRIDE + quad_$i;
  let read_$i = min(quad_$i, DIM / 8u - 1u);
  let inside_$i = quad_$i * 8u < DIM;
  let mine_$i = EVEN || thread + $iu * THREADS < PIECES;
  if mine_$i {
    k_tile[place_$i] = select(vec4<u32>(), k[k_base + min(row_$i, last) * k_step + read_$i], inside_$i);
    v_tile[place_$i] = select(vec4<u32>(), v[v_base + min(row_$i, last) * v_step + read_$i], inside_$i);
  }
  var k_next_$i = k[k_base + min(KEYS + row_$i, last) * k_step + read_$i];
  var v_next_$i = v[v_base + min(KEYS + row_$i, last) * v_step + read_$i];
#end
  workgroupBarrier();
  var v_now = 0u;

  // A step that the compiler cannot know (params.first is 0) keeps it from writing the loop out and moving loads between its rounds.
  for (var key0 = 0u; key0 < keys; key0 += KEYS + params.first) {
#repeat c KEY_MATRICES
    {
#repeat m MATRICES
      var product_$m = subgroup_matrix_result<f32, 16, 16>();
#end
#repeat d DIM_MATRICES
      {
        let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&k_tile, $cu * 16u * STRIDE + $du * 2u, STRIDE);
#repeat m MATRICES
        product_$m = subgroupMatrixMultiplyAccumulate(left, query_$m_$d, product_$m);
#end
      }
#end
#repeat m MATRICES
      subgroupMatrixStore<row_major>(&scores, score0 + $cu * 16u * SCORE_STRIDE + $mu * 16u, product_$m, SCORE_STRIDE);
#end
    }
#end
    workgroupBarrier();

    // The keys are used up: the next ones take their place, and those after them set out.
#repeat i LOADS
    if mine_$i {
      k_tile[place_$i] = select(vec4<u32>(), k_next_$i, inside_$i);
      if VALUE_TILES == 2u {
        v_tile[KEYS * STRIDE - v_now + place_$i] = select(vec4<u32>(), v_next_$i, inside_$i);
      }
    }
    if VALUE_TILES == 2u {
      v_next_$i = v[v_base + min(key0 + 2u * KEYS + row_$i, last) * v_step + read_$i];
    }
    k_next_$i = k[k_base + min(key0 + 2u * KEYS + row_$i, last) * k_step + read_$i];
#end
    // Never runs. Its use of what was loaded keeps the compiler from moving the loads down to where they are needed.
    for (var i = 0u; i < params.first; i++) {
#repeat i LOADS
      out[i + $iu] = k_next_$i.x ^ v_next_$i.x;
#end
    }

#repeat i LANE_KEYS
    let key_$i = select(8u * (2u * ($iu / 8u) + half) + $iu % 8u, $iu, LANES == SUBGROUP);
    var score_$i = scores[score0 + key_$i * SCORE_STRIDE + query];
#end
    if key0 + KEYS > visible_to_all {
#repeat i LANE_KEYS
      score_$i = select(-3.0e38, score_$i, key0 + key_$i < visible);
#end
    }
    var most = vec4<f32>(-3.0e38);
#repeat i LANE_KEYS
    most[$iu % 4u] = max(most[$iu % 4u], score_$i);
#end
    var tile_largest = max(max(most.x, most.y), max(most.z, most.w));
    if LANES < SUBGROUP {
      tile_largest = max(tile_largest, subgroupShuffleXor(tile_largest, LANES));
    }
    let outgrown = subgroupAny((tile_largest - largest) * log2_scale > LEAD);
    var rescale = 1.0;
    if outgrown {
      let moved = max(largest, tile_largest);
      rescale = exp2((largest - moved) * log2_scale);
      largest = moved;
      total *= rescale;
    }
    var sums = vec4<f32>();
#repeat i LANE_KEYS
    score_$i = exp2((score_$i - largest) * log2_scale);
    sums[$iu % 4u] += score_$i;
#end
    total += sums.x + sums.y + sums.z + sums.w;
#repeat i LANE_QUADS
    probabilities[p0 + query * P_STRIDE + select(2u * $iu + half, $iu, LANES == SUBGROUP)] = vec4<u32>(
#repeat j 4
      pack2x16float(vec2<f32>(score_$[8 * $i + 2 * $j], score_$[8 * $i + 2 * $j + 1])),
#end
    );
#end

#repeat m MATRICES
    let rescale_$m = subgroupShuffle(rescale, $mu * 16u + lane % 16u);
#end
    if subgroupElect() {
      grown[subgroup] = u32(outgrown);
    }
    // Also the barrier between probabilities, keys and values and their readers.
    let any_grown = workgroupUniformLoad(&grown);
    var grew = 0u;
#repeat s SUBGROUPS
    grew |= any_grown[$s];
#end
    if key0 > 0u && grew > 0u {
#repeat m MATRICES
#repeat d DIM_MATRICES
      subgroupMatrixStore<row_major>(&scores, score0, sum_$m_$d, SCORE_STRIDE);
      workgroupBarrier();
      for (var i = lane / 16u; i < 16u; i += SUBGROUP / 16u) {
        scores[score0 + (lane % 16u) * SCORE_STRIDE + i] *= rescale_$m;
      }
      workgroupBarrier();
      sum_$m_$d = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&scores, score0, SCORE_STRIDE);
      workgroupBarrier();
#end
#end
    }

#repeat c KEY_MATRICES
    {
#repeat m MATRICES
      let weights_$m = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&probabilities, p0 + $mu * 16u * P_STRIDE + $cu * 2u, P_STRIDE);
#end
#repeat d DIM_MATRICES
      {
        let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&v_tile, v_now + $cu * 16u * STRIDE + $du * 2u, STRIDE);
#repeat m MATRICES
        sum_$m_$d = subgroupMatrixMultiplyAccumulate(weights_$m, right, sum_$m_$d);
#end
      }
#end
    }
#end
    if VALUE_TILES == 2u {
      v_now = KEYS * STRIDE - v_now;
    } else {
      workgroupBarrier();
#repeat i LOADS
      if mine_$i {
        v_tile[place_$i] = select(vec4<u32>(), v_next_$i, inside_$i);
      }
      v_next_$i = v[v_base + min(key0 + 2u * KEYS + row_$i, last) * v_step + read_$i];
#end
    }
  }

  if LANES < SUBGROUP {
    total += subgroupShuffleXor(total, LANES);
  }
  let inverse = 1.0 / total;
  // A lane writes eight of the 256 outputs: row lane / 2, pairs 4 i + 2 (lane % 2).
  let row = lane / 2u;
  workgroupBarrier();
#repeat m MATRICES
  {
    let factor = subgroupShuffle(inverse, $mu * 16u + row);
    let token = query0 + subgroup * LANES + $mu * 16u + row;
#repeat d DIM_MATRICES
    subgroupMatrixStore<row_major>(&scores, score0, sum_$m_$d, SCORE_STRIDE);
    workgroupBarrier();
    for (var i = 2u * (lane % 2u); i < 16u; i += 4u) {
      let d = $du * 16u + i;
      if token < params.query_tokens && d < DIM {
        let at = ((segment * params.query_tokens + token) * params.heads + head) * DIM + d;
        let pair = factor * vec2<f32>(scores[score0 + row * SCORE_STRIDE + i], scores[score0 + row * SCORE_STRIDE + i + 1u]);
        if OUT_F16 {
          out[at >> 1u] = narrow_pair(pair.x, pair.y);
        } else {
          out[at] = bitcast<u32>(pair.x);
          out[at + 1u] = bitcast<u32>(pair.y);
        }
      }
    }
    workgroupBarrier();
#end
  }
#end
}

// Attention, third rung: the flash algorithm with both products on subgroup matrices (tensor cores), f16 operands and f32 sums.
// Operands: params.wgsl, all f16, offsets and strides multiples of 8. out: [T, heads, DIM] f32 or f16. DIM a multiple of 8.
// Matrices are opaque, so scores go through workgroup memory to become probabilities, and outputs cannot be rescaled in place. The running maximum is
// therefore only moved when a score exceeds it by more than LEAD (exp(8) still fits f16 probabilities); then, rarely, the outputs take the same detour.
// One workgroup: 64 queries of one head of one segment (x: query tile, y: head, z: segment), 4 subgroups with 16 queries each; KEYS keys at a time.
// The tile of keys and the tile of values share one place in workgroup memory: each waits in registers while the other is in use.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "attention/params.wgsl"

const KEYS: u32 = 64u;
const SUBGROUP: u32 = 32u;
const LEAD: f32 = 8.0;

const QUERIES: u32 = 64u;
const THREADS: u32 = SUBGROUP * 4u;
const DIM_MATRICES: u32 = 4u; // DIM / 16, rounded up
const KEY_MATRICES: u32 = KEYS / 16u;
const QUADS: u32 = DIM_MATRICES * 2u; // vec4s (of 8 halves) in a row of a tile
const STRIDE: u32 = QUADS + 1u;       // one of padding spreads the banks
const LOADS: u32 = KEYS * QUADS / THREADS;
const QUERY_ROUNDS: u32 = QUERIES / KEYS;
const SCORE_STRIDE: u32 = KEYS + 4u;
const P_STRIDE: u32 = KEYS / 2u + 4u;
const PAIRS: u32 = KEYS / 4u; // pairs of scores of a lane

@group(0) @binding(0) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

var<workgroup> tile: array<vec4<u32>, KEYS * STRIDE>;
var<workgroup> scores: array<f32, QUERIES * SCORE_STRIDE>;
var<workgroup> probabilities: array<u32, QUERIES * P_STRIDE>;
var<workgroup> grown: array<u32, 4>;

// Eight elements of a row; zero beyond the last query or dim. Keys beyond the last one repeat it: they get no weight.
fn q_quad(segment: u32, t: u32, head: u32, quad: u32) -> vec4<u32> {
  if t >= params.query_tokens || quad * 8u >= DIM {
    return vec4<u32>();
  }
  return q[(params.q_offset + (segment * params.query_tokens + t) * params.q_token + head * params.q_head) / 8u + quad];
}

fn k_quad(segment: u32, s: u32, g: u32, quad: u32) -> vec4<u32> {
  let token = segment * params.key_tokens + min(s, params.key_tokens - 1u);
  let loaded = k[(params.k_offset + token * params.k_token + g * params.k_head) / 8u + min(quad, DIM / 8u - 1u)];
  return select(vec4<u32>(), loaded, quad * 8u < DIM);
}

fn v_quad(segment: u32, s: u32, g: u32, quad: u32) -> vec4<u32> {
  let token = segment * params.key_tokens + min(s, params.key_tokens - 1u);
  let loaded = v[(params.v_offset + token * params.v_token + g * params.v_head) / 8u + min(quad, DIM / 8u - 1u)];
  return select(vec4<u32>(), loaded, quad * 8u < DIM);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(workgroup_id) group: vec3<u32>,
) {
  let query0 = group.x * QUERIES;
  let head = group.y;
  let segment = group.z;
  let g = kv_head(head);
  let score0 = subgroup * 16u * SCORE_STRIDE;
  let p0 = subgroup * 16u * P_STRIDE;
  // Two lanes share a query: lane half h takes the pairs 2i + h of its scores.
  let row = lane / 2u;
  let half = lane % 2u;
  let t = query0 + subgroup * 16u + row;
  let visible = select(0u, visible_keys(min(t, params.query_tokens - 1u)), t < params.query_tokens);

#repeat d DIM_MATRICES
  var query_$d = subgroup_matrix_left<f16, 16, 16>();
  var sum_$d = subgroup_matrix_result<f32, 16, 16>();
#end
  // Queries pass through the tile, KEYS rows at a time.
#repeat round QUERY_ROUNDS
#repeat i LOADS
  {
    let at = thread + $iu * THREADS;
    tile[(at / QUADS) * STRIDE + at % QUADS] = q_quad(segment, query0 + $roundu * KEYS + at / QUADS, head, at % QUADS);
  }
#end
  workgroupBarrier();
  if subgroup / (KEYS / 16u) == $roundu {
#repeat d DIM_MATRICES
    query_$d = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, (subgroup % (KEYS / 16u)) * 16u * STRIDE + $du * 2u, STRIDE);
#end
  }
  workgroupBarrier();
#end

  var largest = -3.0e38;
  var total = 0.0;
  let keys = min(params.key_tokens, visible_keys(query0 + QUERIES - 1u));
#repeat i LOADS
  let row_$i = (thread + $iu * THREADS) / QUADS;
  let quad_$i = (thread + $iu * THREADS) % QUADS;
  var next_$i = k_quad(segment, row_$i, g, quad_$i);
#end
  for (var key0 = 0u; key0 < keys; key0 += KEYS) {
#repeat i LOADS
    tile[row_$i * STRIDE + quad_$i] = next_$i;
#end
    workgroupBarrier();
#repeat i LOADS
    next_$i = v_quad(segment, key0 + row_$i, g, quad_$i);
#end
#repeat c KEY_MATRICES
    {
      var product = subgroup_matrix_result<f32, 16, 16>();
#repeat d DIM_MATRICES
      product = subgroupMatrixMultiplyAccumulate(
        query_$d,
        subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, $cu * 16u * STRIDE + $du * 2u, STRIDE),
        product,
      );
#end
      subgroupMatrixStore<row_major>(&scores, score0 + $cu * 16u, product, SCORE_STRIDE);
    }
#end
    workgroupBarrier();

    // Values take the keys' place while the scores are looked at.
#repeat i LOADS
    tile[row_$i * STRIDE + quad_$i] = next_$i;
#end
    var tile_largest = -3.0e38;
#repeat i PAIRS
    let column_$i = key0 + 4u * $iu + 2u * half;
    var pair_$i = params.scale * vec2<f32>(scores[score0 + row * SCORE_STRIDE + column_$i - key0], scores[score0 + row * SCORE_STRIDE + column_$i - key0 + 1u]);
    pair_$i = select(vec2<f32>(-3.0e38), pair_$i, vec2<u32>(column_$i, column_$i + 1u) < vec2<u32>(visible));
    tile_largest = max(tile_largest, max(pair_$i.x, pair_$i.y));
#end
    tile_largest = max(tile_largest, subgroupShuffleXor(tile_largest, 1u));
    let outgrown = subgroupAny(tile_largest > largest + LEAD);
    if subgroupElect() {
      grown[subgroup] = u32(outgrown);
    }
    let any_grown = workgroupUniformLoad(&grown);
    if any_grown[0] + any_grown[1] + any_grown[2] + any_grown[3] > 0u {
      let moved = max(largest, tile_largest);
      let rescale = exp(largest - moved);
      largest = moved;
      total *= rescale;
      if key0 > 0u {
#repeat d DIM_MATRICES
        subgroupMatrixStore<row_major>(&scores, score0, sum_$d, SCORE_STRIDE);
        workgroupBarrier();
        for (var i = half; i < 16u; i += 2u) {
          scores[score0 + row * SCORE_STRIDE + i] *= rescale;
        }
        workgroupBarrier();
        sum_$d = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&scores, score0, SCORE_STRIDE);
        workgroupBarrier();
#end
      }
    }
#repeat i PAIRS
    {
      let e = exp(pair_$i - vec2<f32>(largest));
      total += e.x + e.y;
      probabilities[p0 + row * P_STRIDE + 2u * $iu + half] = pack2x16float(e);
    }
#end
    workgroupBarrier();
    // The next keys travel during the second product.
    if key0 + KEYS < keys {
#repeat i LOADS
      next_$i = k_quad(segment, key0 + KEYS + row_$i, g, quad_$i);
#end
    }
#repeat c KEY_MATRICES
    {
      let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&probabilities, p0 + $cu * 8u, P_STRIDE);
#repeat d DIM_MATRICES
      sum_$d = subgroupMatrixMultiplyAccumulate(
        left,
        subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&tile, $cu * 16u * STRIDE + $du * 2u, STRIDE),
        sum_$d,
      );
#end
    }
#end
    workgroupBarrier();
  }

  total += subgroupShuffleXor(total, 1u);
  let scale = 1.0 / total;
#repeat d DIM_MATRICES
  subgroupMatrixStore<row_major>(&scores, score0, sum_$d, SCORE_STRIDE);
  workgroupBarrier();
  if t < params.query_tokens {
    for (var i = 2u * half; i < 16u; i += 4u) {
      let d = $du * 16u + i;
      if d < DIM {
        let at = ((segment * params.query_tokens + t) * params.heads + head) * DIM + d;
        let pair = scale * vec2<f32>(scores[score0 + row * SCORE_STRIDE + i], scores[score0 + row * SCORE_STRIDE + i + 1u]);
        if OUT_F16 {
          out[at >> 1u] = narrow_pair(pair.x, pair.y);
        } else {
          out[at] = bitcast<u32>(pair.x);
          out[at + 1u] = bitcast<u32>(pair.y);
        }
      }
    }
  }
  workgroupBarrier();
#end
}

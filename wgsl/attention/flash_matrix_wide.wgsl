// Attention, fourth rung, for heads of up to 256: the flash algorithm with both products on subgroup matrices, f16 operands and f32 sums.
// Operands and why scores take the way they do: matrix_operands.wgsl.
// One workgroup: SUBGROUPS * MATRICES * 16 queries of one head of one segment (x: query tile, the longest rows first; y: head; z: segment). Scores are computed
// transposed, S^T = K Q^T: a lane then owns a query, or with 16 queries a subgroup, all that registers hold of wide rows, two lanes share one. KEYS keys and
// values arrive at a time, the next ones travelling from memory while the present ones are in use; scores are worked on 16 keys at a time.
#include "attention/matrix_operands.wgsl"

const KEYS: u32 = 16u;
const SUBGROUPS: u32 = 4u;
const MATRICES: u32 = 2u; // of 16 queries a subgroup: 1 or 2
const DIM_MATRICES: u32 = 4u; // DIM / 16, rounded up
const TILES: u32 = 2u; // 2: the next keys and values arrive while the present ones are in use; 1: in between, at the cost of a barrier
const SCORE_STRIDE: u32 = 40u; // words of a row of scores: a multiple of 4, at least 16 * MATRICES

const THREADS: u32 = SUBGROUP * SUBGROUPS;
const LANES: u32 = 16u * MATRICES; // queries of a subgroup
const QUERIES: u32 = LANES * SUBGROUPS;
const KEY_MATRICES: u32 = KEYS / 16u;
const QUADS: u32 = DIM_MATRICES * 2u; // vec4s (of 8 halves) in a row of a tile
const STRIDE: u32 = QUADS + 1u;       // one of padding spreads the banks
const PIECES: u32 = KEYS * QUADS;
const LOADS: u32 = 1u; // PIECES / THREADS, rounded up
const EVEN: bool = PIECES == LOADS * THREADS;
const TILE: u32 = KEYS * STRIDE;
const TILE_COUNT: u32 = 2u * TILES;
const P_STRIDE: u32 = 3u;                 // vec4s of a row of probabilities: 16 halves and padding
const REGION: u32 = SCORE_STRIDE * 4u;    // vec4s of a subgroup's scores, [key, query] f32; then its probabilities, [query, key] f16; or a 16x16 of outputs
const LANE_KEYS: u32 = 16u * LANES / SUBGROUP; // scores of a lane
const LANE_QUADS: u32 = LANE_KEYS / 8u;
const ROUND_ROWS: u32 = TILE_COUNT * KEYS; // queries that pass through the tiles at a time
const QUERY_ROUNDS: u32 = QUERIES / ROUND_ROWS;

// TILES tiles of keys, as many of values, and a region for each subgroup.
var<workgroup> tile: array<vec4<u32>, TILE_COUNT * TILE + SUBGROUPS * REGION>;

@compute @workgroup_size(THREADS)
@diagnostic(off, subgroup_uniformity)
@diagnostic(off, chromium.subgroup_matrix_uniformity)
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
  let region = TILE_COUNT * TILE + subgroup * REGION;
  // The lane's query, and which of its keys: all, or with two lanes a query every other eight.
  let query = lane % LANES;
  let half = lane / LANES;
  let t = query0 + subgroup * LANES + query;
  let visible = select(0u, visible_keys(min(t, params.query_tokens - 1u)), t < params.query_tokens);
  let visible_to_all = visible_keys(query0);
  let log2_scale = params.scale * 1.4426950408889634;
  // The thread's pieces of a tile.
#repeat i LOADS
  let piece_$i = min(thread + $iu * THREADS, PIECES - 1u);
  let row_$i = piece_$i / QUADS;
  let quad_$i = piece_$i % QUADS;
  let place_$i = row_$i * STRIDE + quad_$i;
  let read_$i = min(quad_$i, DIM / 8u - 1u);
  let inside_$i = quad_$i * 8u < DIM;
  let mine_$i = EVEN || thread + $iu * THREADS < PIECES;
#end

#repeat m MATRICES
#repeat d DIM_MATRICES
  var query_$m_$d = subgroup_matrix_right<f16, 16, 16>();
  var sum_$m_$d = subgroup_matrix_result<f32, 16, 16>();
#end
#end
  // Queries pass through all tiles.
#repeat round QUERY_ROUNDS
#repeat u TILE_COUNT
#repeat i LOADS
  if mine_$i {
    tile[$uu * TILE + place_$i] = q_piece(segment, query0 + $roundu * ROUND_ROWS + $uu * KEYS + row_$i, head, quad_$i);
  }
#end
#end
  workgroupBarrier();
#repeat m MATRICES
  if (subgroup * LANES + $mu * 16u) / ROUND_ROWS == $roundu {
#repeat d DIM_MATRICES
    query_$m_$d = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, (subgroup * LANES + $mu * 16u) % ROUND_ROWS * STRIDE + $du * 2u, STRIDE);
#end
  }
#end
  workgroupBarrier();
#end

  var largest = NOTHING;
  var total = 0.0;
  let keys = min(params.key_tokens, visible_keys(query0 + QUERIES - 1u));
  // Keys beyond the last one repeat it: they get no weight. Dims beyond the last one are zero.
  let last = params.key_tokens - 1u;
  let k_base = (params.k_offset + segment * params.key_tokens * params.k_token + g * params.k_head) / 8u;
  let v_base = (params.v_offset + segment * params.key_tokens * params.v_token + g * params.v_head) / 8u;
  let k_step = params.k_token / 8u;
  let v_step = params.v_token / 8u;
#repeat i LOADS
  if mine_$i {
    tile[place_$i] = select(vec4<u32>(), k[k_base + min(row_$i, last) * k_step + read_$i], inside_$i);
    tile[TILES * TILE + place_$i] = select(vec4<u32>(), v[v_base + min(row_$i, last) * v_step + read_$i], inside_$i);
  }
  var k_next_$i = k[k_base + min(KEYS + row_$i, last) * k_step + read_$i];
  var v_next_$i = v[v_base + min(KEYS + row_$i, last) * v_step + read_$i];
#end
  workgroupBarrier();
  var k_now = 0u;

  // A step that the compiler cannot know (params.first is 0) keeps it from writing the loop out and moving loads between its rounds.
  for (var key0 = 0u; key0 < keys; key0 += KEYS + params.first) {
    let v_now = k_now + TILES * TILE;
    let k_other = (TILES - 1u) * TILE - k_now;
#repeat c KEY_MATRICES
    {
      // Scores: 16 keys by LANES queries.
#repeat m MATRICES
      var product_$m = subgroup_matrix_result<f32, 16, 16>();
#end
#repeat d DIM_MATRICES
      {
        let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, k_now + $cu * 16u * STRIDE + $du * 2u, STRIDE);
#repeat m MATRICES
        product_$m = subgroupMatrixMultiplyAccumulate(left, query_$m_$d, product_$m);
#end
      }
#end
#repeat m MATRICES
      subgroupMatrixStore<row_major>(&tile, region + $mu * 4u, product_$m, SCORE_STRIDE / 4u);
#end
      if TILES == 2u && $cu == 0u {
        // The next keys and values arrive, and those after them set out.
#repeat i LOADS
        if mine_$i {
          tile[k_other + place_$i] = select(vec4<u32>(), k_next_$i, inside_$i);
          tile[TILES * TILE + k_other + place_$i] = select(vec4<u32>(), v_next_$i, inside_$i);
        }
        k_next_$i = k[k_base + min(key0 + 2u * KEYS + row_$i, last) * k_step + read_$i];
        v_next_$i = v[v_base + min(key0 + 2u * KEYS + row_$i, last) * v_step + read_$i];
#end
        // Never runs. Its use of what was loaded keeps the compiler from moving the loads down to where they are needed.
        for (var i = 0u; i < params.first; i++) {
#repeat i LOADS
          out[i + $iu] = k_next_$i.x ^ v_next_$i.x;
#end
        }
      }

#repeat i LANE_KEYS
      let key_$i = select(8u * (2u * ($iu / 8u) + half) + $iu % 8u, $iu, LANES == SUBGROUP);
      var score_$i = bitcast<f32>(tile[region + key_$i * (SCORE_STRIDE / 4u) + query / 4u][query % 4u]);
#end
      if key0 + $cu * 16u + 16u > visible_to_all {
#repeat i LANE_KEYS
        score_$i = select(NOTHING, score_$i, key0 + $cu * 16u + key_$i < visible);
#end
      }
      var most = vec4<f32>(NOTHING);
#repeat i LANE_KEYS
      most[$iu % 4u] = max(most[$iu % 4u], score_$i);
#end
      var tile_largest = max(max(most.x, most.y), max(most.z, most.w));
      if LANES < SUBGROUP {
        tile_largest = max(tile_largest, subgroupShuffleXor(tile_largest, LANES));
      }
      if subgroupAny((tile_largest - largest) * log2_scale > LEAD) {
        let moved = max(largest, tile_largest);
        let rescale = exp2((largest - moved) * log2_scale);
        largest = moved;
        total *= rescale;
        // Before the first keys there is nothing to rescale.
        if $cu > 0u || key0 > 0u {
#repeat m MATRICES
          {
            let factor = subgroupShuffle(rescale, $mu * 16u + lane % 16u);
#repeat d DIM_MATRICES
            subgroupMatrixStore<row_major>(&tile, region, sum_$m_$d, SCORE_STRIDE / 4u);
            for (var i = lane / 16u; i < 16u; i += SUBGROUP / 16u) {
              let at = region + (lane % 16u) * (SCORE_STRIDE / 4u) + i / 4u;
              tile[at][i % 4u] = bitcast<u32>(factor * bitcast<f32>(tile[at][i % 4u]));
            }
            sum_$m_$d = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&tile, region, SCORE_STRIDE / 4u);
#end
          }
#end
        }
      }
      var sums = vec4<f32>();
#repeat i LANE_KEYS
      score_$i = exp2((score_$i - largest) * log2_scale);
      sums[$iu % 4u] += score_$i;
#end
      total += sums.x + sums.y + sums.z + sums.w;
#repeat i LANE_QUADS
      tile[region + query * P_STRIDE + select(2u * $iu + half, $iu, LANES == SUBGROUP)] = vec4<u32>(
#repeat j 4
        pack2x16float(vec2<f32>(score_$[8 * $i + 2 * $j], score_$[8 * $i + 2 * $j + 1])),
#end
      );
#end

      // Outputs: LANES queries by DIM.
#repeat m MATRICES
      let weights_$m = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, region + $mu * 16u * P_STRIDE, P_STRIDE);
#end
#repeat d DIM_MATRICES
      {
        let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&tile, v_now + $cu * 16u * STRIDE + $du * 2u, STRIDE);
#repeat m MATRICES
        sum_$m_$d = subgroupMatrixMultiplyAccumulate(weights_$m, right, sum_$m_$d);
#end
      }
#end
    }
#end
    workgroupBarrier();
    if TILES == 1u {
#repeat i LOADS
      if mine_$i {
        tile[place_$i] = select(vec4<u32>(), k_next_$i, inside_$i);
        tile[TILE + place_$i] = select(vec4<u32>(), v_next_$i, inside_$i);
      }
      k_next_$i = k[k_base + min(key0 + 2u * KEYS + row_$i, last) * k_step + read_$i];
      v_next_$i = v[v_base + min(key0 + 2u * KEYS + row_$i, last) * v_step + read_$i];
#end
      for (var i = 0u; i < params.first; i++) {
#repeat i LOADS
        out[i + $iu] = k_next_$i.x ^ v_next_$i.x;
#end
      }
      workgroupBarrier();
    }
    k_now = k_other;
  }

  if LANES < SUBGROUP {
    total += subgroupShuffleXor(total, LANES);
  }
  let inverse = 1.0 / total;
  // A lane writes four pairs of each 16x16 of outputs: pair lane % 8 of every fourth row.
  let pair = 2u * (lane % 8u);
#repeat m MATRICES
#repeat i 4
  let factor_$m_$i = subgroupShuffle(inverse, $mu * 16u + $iu * 4u + lane / 8u);
#end
#repeat d DIM_MATRICES
  subgroupMatrixStore<row_major>(&tile, region, sum_$m_$d, SCORE_STRIDE / 4u);
#repeat i 4
  {
    let row = $iu * 4u + lane / 8u;
    let token = query0 + subgroup * LANES + $mu * 16u + row;
    let d = $du * 16u + pair;
    if token < params.query_tokens && d < DIM {
      let place = region + row * (SCORE_STRIDE / 4u) + pair / 4u;
      let values = factor_$m_$i * bitcast<vec2<f32>>(vec2<u32>(tile[place][pair % 4u], tile[place][pair % 4u + 1u]));
      let at = ((segment * params.query_tokens + token) * params.heads + head) * DIM + d;
      if OUT_F16 {
        out[at >> 1u] = narrow_pair(values.x, values.y);
      } else {
        out[at] = bitcast<u32>(values.x);
        out[at + 1u] = bitcast<u32>(values.y);
      }
    }
  }
#end
#end
#end
}

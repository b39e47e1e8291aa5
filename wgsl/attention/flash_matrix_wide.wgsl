// Attention, fourth rung, for heads of up to 256: the flash algorithm with both products on subgroup matrices, f16 operands and f32 sums.
// Operands and why scores take the way they do: matrix_operands.wgsl.
// One workgroup: SUBGROUPS * 16 queries of one head of one segment (x: query tile, the longest rows first; y: head; z: segment); 16 queries a subgroup are all
// that registers hold of wide rows, so two lanes share one. 16 keys and values arrive at a time, the next ones travelling from memory while the present ones
// are in use.
#include "attention/matrix_operands.wgsl"

const SUBGROUPS: u32 = 4u;
const DIM_MATRICES: u32 = 4u; // DIM / 16, rounded up
const TILES: u32 = 2u; // 2: the next keys and values arrive while the present ones are in use; 1: in between, at the cost of a barrier

const KEYS: u32 = 16u;
const THREADS: u32 = SUBGROUP * SUBGROUPS;
const QUERIES: u32 = 16u * SUBGROUPS;
const QUADS: u32 = DIM_MATRICES * 2u; // vec4s (of 8 halves) in a row of a tile
const STRIDE: u32 = QUADS + 1u;       // one of padding spreads the banks
const PIECES: u32 = KEYS * QUADS;
const LOADS: u32 = 1u; // PIECES / THREADS, rounded up
const EVEN: bool = PIECES == LOADS * THREADS;
const TILE: u32 = KEYS * STRIDE;
const TILE_COUNT: u32 = 2u * TILES;
const ROW: u32 = 6u;   // vec4s of a row of scores, [query, key] f32: 16 of them and padding
const P_ROW: u32 = 3u; // vec4s of a row of probabilities, [query, key] f16
const REGION: u32 = 16u * ROW; // a subgroup's scores, then its probabilities; or 16x16 outputs
const ROUND_ROWS: u32 = TILE_COUNT * KEYS; // queries that pass through the tiles at a time
const QUERY_ROUNDS: u32 = QUERIES / ROUND_ROWS;

// Whether some maximum of the workgroup's is to move.
var<workgroup> moves: atomic<u32>;
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
  // The lane's query, and which eight of 16 keys. Every other four lanes read their scores in fours the other way round, which keeps lanes that read together off
  // each other's banks.
  let line = lane % 16u;
  let half = lane / 16u;
  let swap = (lane >> 2u) & 1u;
  let scores = region + line * ROW + half * 2u;
  let t = query0 + subgroup * 16u + line;
  let visible = visible_keys(min(t, params.query_tokens - 1u));
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

#repeat d DIM_MATRICES
  var query_$d = subgroup_matrix_left<f16, 16, 16>();
  var sum_$d = subgroup_matrix_result<f32, 16, 16>();
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
  if subgroup * 16u / ROUND_ROWS == $roundu {
#repeat d DIM_MATRICES
    query_$d = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, subgroup * 16u % ROUND_ROWS * STRIDE + $du * 2u, STRIDE);
#end
  }
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
  var k_now = 0u;
#repeat i LOADS
  if mine_$i {
    tile[place_$i] = select(vec4<u32>(), k[k_base + min(row_$i, last) * k_step + read_$i], inside_$i);
    tile[TILES * TILE + place_$i] = select(vec4<u32>(), v[v_base + min(row_$i, last) * v_step + read_$i], inside_$i);
  }
#end

  var most = NOTHING; // the largest score of this round
  var counts = true;  // whether this round is still to be added for the lane's query
  var key0 = 0u;
  loop {
    if thread == 0u {
      atomicStore(&moves, 0u);
    }
#repeat i LOADS
    var k_next_$i = k[k_base + min(key0 + KEYS + row_$i, last) * k_step + read_$i];
    var v_next_$i = v[v_base + min(key0 + KEYS + row_$i, last) * v_step + read_$i];
#end
    workgroupBarrier();

    loop {
      let v_now = k_now + TILES * TILE;
      let k_other = (TILES - 1u) * TILE - k_now;
      // Scores: 16 queries by 16 keys.
      var product = subgroup_matrix_result<f32, 16, 16>();
#repeat d DIM_MATRICES
      {
        let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, k_now + $du * 2u, STRIDE);
        product = subgroupMatrixMultiplyAccumulate(query_$d, right, product);
      }
#end
      subgroupMatrixStore<row_major>(&tile, region, product, ROW);
      if TILES == 2u {
        // The next keys and values arrive, and those after them set out.
#repeat i LOADS
        if mine_$i {
          tile[k_other + place_$i] = select(vec4<u32>(), k_next_$i, inside_$i);
          tile[TILES * TILE + k_other + place_$i] = select(vec4<u32>(), v_next_$i, inside_$i);
        }
        k_next_$i = k[k_base + min(key0 + 2u * KEYS + row_$i, last) * k_step + read_$i];
        v_next_$i = v[v_base + min(key0 + 2u * KEYS + row_$i, last) * v_step + read_$i];
#end
        // Never runs, params.first being 0: its use of what was loaded keeps the compiler from moving the loads down to where they are needed (6 %).
        for (var i = 0u; i < params.first; i++) {
#repeat i LOADS
          out[i + $iu] = k_next_$i.x ^ v_next_$i.x;
#end
        }
      }

      if key0 + 16u > visible_to_all {
        let seen = max(visible, key0 + half * 8u) - (key0 + half * 8u);
#repeat i 8
        if $iu >= seen {
          tile[scores + $iu / 4u][$iu % 4u] = bitcast<u32>(NOTHING);
        }
#end
      }
      let four_0 = bitcast<vec4<f32>>(tile[scores + swap]);
      let four_1 = bitcast<vec4<f32>>(tile[scores + (swap ^ 1u)]);
      let larger = max(four_0, four_1);
      most = max(max(larger.x, larger.y), max(larger.z, larger.w));
      most = max(most, subgroupShuffleXor(most, 16u));
      largest = select(largest, most, key0 == 0u);
      let exceeds = (most - largest) * log2_scale > LEAD;
      if exceeds {
        atomicStore(&moves, 1u);
      }
      // A query with nothing to add this time subtracts so much that no weight is left.
      let origin = select(largest, -NOTHING, exceeds || !counts);
      counts = true;

      let p_0 = exp2((four_0 - origin) * log2_scale);
      let p_1 = exp2((four_1 - origin) * log2_scale);
      let sums = p_0 + p_1;
      total += (sums.x + sums.y) + (sums.z + sums.w);
      let first = vec2<u32>(pack2x16float(p_0.xy), pack2x16float(p_0.zw));
      let second = vec2<u32>(pack2x16float(p_1.xy), pack2x16float(p_1.zw));
      tile[region + line * P_ROW + half] = select(vec4<u32>(first, second), vec4<u32>(second, first), swap == 1u);

      // Outputs: 16 queries by DIM.
      let weights = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, region, P_ROW);
#repeat d DIM_MATRICES
      {
        let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&tile, v_now + $du * 2u, STRIDE);
        sum_$d = subgroupMatrixMultiplyAccumulate(weights, right, sum_$d);
      }
#end
      if workgroupUniformLoad(&moves) != 0u {
        break;
      }
      if TILES == 1u {
#repeat i LOADS
        if mine_$i {
          tile[place_$i] = select(vec4<u32>(), k_next_$i, inside_$i);
          tile[TILE + place_$i] = select(vec4<u32>(), v_next_$i, inside_$i);
        }
        k_next_$i = k[k_base + min(key0 + 2u * KEYS + row_$i, last) * k_step + read_$i];
        v_next_$i = v[v_base + min(key0 + 2u * KEYS + row_$i, last) * v_step + read_$i];
#end
        workgroupBarrier();
      } else {
        k_now = k_other;
      }
      key0 += KEYS;
      if key0 >= keys {
        break;
      }
    }
    if key0 >= keys {
      break;
    }

    // The maximum of some queries moves, and the round is repeated for them.
    counts = (most - largest) * log2_scale > LEAD;
    if subgroupAny(counts) {
      let moved = max(largest, most);
      let rescale = exp2((largest - moved) * log2_scale);
      largest = moved;
      total *= rescale;
#repeat d DIM_MATRICES
      subgroupMatrixStore<row_major>(&tile, region, sum_$d, ROW);
      for (var i = half; i < 16u; i += SUBGROUP / 16u) {
        let at = region + line * ROW + i / 4u;
        tile[at][i % 4u] = bitcast<u32>(rescale * bitcast<f32>(tile[at][i % 4u]));
      }
      sum_$d = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&tile, region, ROW);
#end
    }
  }

  let inverse = 1.0 / (total + subgroupShuffleXor(total, 16u));
  // A lane writes four pairs of each 16x16 of outputs: pair lane % 8 of every fourth row.
  let pair = 2u * (lane % 8u);
#repeat i 4
  let factor_$i = subgroupShuffle(inverse, $iu * 4u + lane / 8u);
#end
#repeat d DIM_MATRICES
  subgroupMatrixStore<row_major>(&tile, region, sum_$d, ROW);
#repeat i 4
  {
    let row = $iu * 4u + lane / 8u;
    let token = query0 + subgroup * 16u + row;
    let d = $du * 16u + pair;
    if token < params.query_tokens && d < DIM {
      let place = region + row * ROW + pair / 4u;
      let values = factor_$i * bitcast<vec2<f32>>(vec2<u32>(tile[place][pair % 4u], tile[place][pair % 4u + 1u]));
      store_pair(segment * params.query_tokens + token, head * DIM + d, values);
    }
  }
#end
#end
}

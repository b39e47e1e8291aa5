// Attention, fourth rung, for heads of up to 128: the flash algorithm with both products on subgroup matrices, f16 operands and f32 sums.
// Operands and why scores take the way they do: matrix_operands.wgsl.
// One workgroup: SUBGROUPS * 32 queries of one head of one segment (tile_and_head in params.wgsl). A lane owns a query: it reads
// the scores of 16 keys at a time and finds their maximum and sum without asking its neighbours. KEYS keys and values arrive at a time, the next ones
// travelling from memory while the present ones are in use.
#include "attention/matrix_operands.wgsl"

@group(0) @binding(3) var<storage, read_write> out: array<vec4<u32>>;

const KEYS: u32 = 32u;
const SUBGROUPS: u32 = 4u;
const MATRICES: u32 = 2u; // of 16 queries: two of them halve the reads of keys and values
const DIM_MATRICES: u32 = 4u; // DIM / 16, rounded up

const THREADS: u32 = SUBGROUP * SUBGROUPS;
const QUERIES: u32 = SUBGROUP * SUBGROUPS;
const KEY_MATRICES: u32 = KEYS / 16u;
const QUADS: u32 = DIM_MATRICES * 2u; // vec4s (of 8 halves) in a row of a tile
const STRIDE: u32 = QUADS + 1u;       // one of padding spreads the banks
const WHOLE: bool = DIM == 16u * DIM_MATRICES;
const PIECES: u32 = KEYS * QUADS;
const LOADS: u32 = 2u; // PIECES / THREADS, rounded up
const EVEN: bool = PIECES == LOADS * THREADS;
const TILE: u32 = KEYS * STRIDE;
const ROW: u32 = 6u;   // vec4s of a row of scores, [query, key] f32: 16 of them and padding
const P_ROW: u32 = 3u; // vec4s of a row of probabilities, [query, key] f16
const REGION: u32 = SUBGROUP * ROW; // a subgroup's scores, then its probabilities; or 16x16 outputs
const ROUND_ROWS: u32 = 2u * KEYS; // queries that pass through the tiles at a time
const QUERY_ROUNDS: u32 = QUERIES / ROUND_ROWS;

// Whether some maximum of the workgroup's is to move.
var<workgroup> moves: atomic<u32>;
// A tile of keys, one of values, and a region for each subgroup.
var<workgroup> tile: array<vec4<u32>, 2u * TILE + SUBGROUPS * REGION>;

// Eight neighbouring results of a row, of which `column` is the first.
fn store_eight(row: u32, column: u32, low: vec4<f32>, high: vec4<f32>) {
  let width = params.heads * DIM;
  let at = row * width + column;
  if OUT_F16 {
    out[select(at / 8u, block_row(row, column / 8u, width), OUT_BLOCKS)] = narrow_eight(low, high);
  } else {
    out[at / 4u] = bitcast<vec4<u32>>(low);
    out[at / 4u + 1u] = bitcast<vec4<u32>>(high);
  }
}

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
  let here = tile_and_head(group, groups);
  let query0 = here.x * QUERIES;
  let head = here.y;
  let segment = group.z;
  let g = kv_head(head);
  let region = 2u * TILE + subgroup * REGION;
  // Every other four lanes read their scores in fours the other way round, which keeps lanes that read together off each other's banks.
  let swap = (lane >> 2u) & 1u;
  let t = query0 + subgroup * SUBGROUP + lane;
  let visible = visible_keys(min(t, params.query_tokens - 1u));
  let visible_to_all = visible_keys(query0);
  let log2_scale = params.scale * 1.4426950408889634;
  // The thread's pieces of a tile.
#repeat i LOADS
  let piece_$i = min(thread + $iu * THREADS, PIECES - 1u);
  let row_$i = piece_$i / QUADS;
  let quad_$i = piece_$i % QUADS;
  let place_$i = row_$i * STRIDE + quad_$i;
  let inside_$i = WHOLE || quad_$i * 8u < DIM;
  let read_$i = select(0u, quad_$i, inside_$i);
  let mine_$i = EVEN || thread + $iu * THREADS < PIECES;
#end

#repeat m MATRICES
#repeat d DIM_MATRICES
  var query_$m_$d = subgroup_matrix_left<f16, 16, 16>();
  var sum_$m_$d = subgroup_matrix_result<f32, 16, 16>();
#end
#end
  // Queries pass through both tiles.
#repeat round QUERY_ROUNDS
#repeat u 2
#repeat i LOADS
  if mine_$i {
    tile[$uu * TILE + place_$i] = q_piece(segment, query0 + $roundu * ROUND_ROWS + $uu * KEYS + row_$i, head, quad_$i);
  }
#end
#end
  workgroupBarrier();
#repeat m MATRICES
  if (subgroup * SUBGROUP + $mu * 16u) / ROUND_ROWS == $roundu {
#repeat d DIM_MATRICES
    query_$m_$d = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, (subgroup * SUBGROUP + $mu * 16u) % ROUND_ROWS * STRIDE + $du * 2u, STRIDE);
#end
  }
#end
  workgroupBarrier();
#end

  var largest = NOTHING;
  var totals = vec4<f32>();
  let keys = min(params.key_tokens, visible_keys(query0 + QUERIES - 1u));
  // Keys beyond the last one repeat it: they get no weight. Dims beyond the last one are zero.
  let last = params.key_tokens - 1u;
  let k_step = params.k_token / 8u;
  let v_step = params.v_token / 8u;
#repeat i LOADS
  let k_first_$i = params.k_offset / 8u + (segment * params.key_tokens + row_$i) * k_step + g * (params.k_head / 8u) + read_$i;
  let v_first_$i = params.v_offset / 8u + (segment * params.key_tokens + row_$i) * v_step + g * (params.v_head / 8u) + read_$i;
  let k_last_$i = k_first_$i + (last - row_$i) * k_step;
  let v_last_$i = v_first_$i + (last - row_$i) * v_step;
#end

  var most = NOTHING; // the largest score of this round
  var counts = true;  // whether this round is still to be added for the lane's query
  var key0 = 0u;
  loop {
    if thread == 0u {
      atomicStore(&moves, 0u);
    }
#repeat i LOADS
    if mine_$i {
      tile[place_$i] = select(vec4<u32>(), k[min(k_first_$i + key0 * k_step, k_last_$i)], inside_$i);
      tile[TILE + place_$i] = select(vec4<u32>(), v[min(v_first_$i + key0 * v_step, v_last_$i)], inside_$i);
    }
#end
    workgroupBarrier();

    loop {
#repeat c KEY_MATRICES
      // Scores: 32 queries by 16 keys.
      {
#repeat m MATRICES
        var product_$m = subgroup_matrix_result<f32, 16, 16>();
#end
#repeat d DIM_MATRICES
        {
          let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, $cu * 16u * STRIDE + $du * 2u, STRIDE);
#repeat m MATRICES
          product_$m = subgroupMatrixMultiplyAccumulate(query_$m_$d, right, product_$m);
#end
        }
#end
#repeat m MATRICES
        subgroupMatrixStore<row_major>(&tile, region + $mu * 16u * ROW, product_$m, ROW);
#end
      }
      if key0 + $cu * 16u + 16u > visible_to_all {
        // Keys that its query does not see: the lane overwrites their scores where they lie. Registers changed in a branch would be copied in front of it.
        let seen = max(visible, key0 + $cu * 16u) - (key0 + $cu * 16u);
#repeat i 16
        if $iu >= seen {
          tile[region + lane * ROW + $iu / 4u][$iu % 4u] = bitcast<u32>(NOTHING);
        }
#end
      }
#repeat i 4
      let four_$c_$i = bitcast<vec4<f32>>(tile[region + lane * ROW + ($iu ^ swap)]);
#end
#end
      // The next keys and values set out.
#repeat i LOADS
      let k_next_$i = k[min(k_first_$i + (key0 + KEYS) * k_step, k_last_$i)];
      let v_next_$i = v[min(v_first_$i + (key0 + KEYS) * v_step, v_last_$i)];
#end

      var largest_of_four = vec4<f32>(NOTHING);
#repeat c KEY_MATRICES
#repeat i 4
      largest_of_four = max(largest_of_four, four_$c_$i);
#end
#end
      most = max(max(largest_of_four.x, largest_of_four.y), max(largest_of_four.z, largest_of_four.w));
      largest = select(largest, most, key0 == 0u);
      let exceeds = (most - largest) * log2_scale > LEAD;
      if exceeds {
        atomicStore(&moves, 1u);
      }
      // A query with nothing to add this time subtracts so much that no weight is left.
      let origin = select(largest, -NOTHING, exceeds || !counts);
      counts = true;

#repeat c KEY_MATRICES
      {
#repeat i 4
        let p_$i = exp2((four_$c_$i - origin) * log2_scale);
#end
        totals += (p_0 + p_1) + (p_2 + p_3);
#repeat i 2
        {
          let first = vec2<u32>(pack2x16float(p_$[2 * $i].xy), pack2x16float(p_$[2 * $i].zw));
          let second = vec2<u32>(pack2x16float(p_$[2 * $i + 1].xy), pack2x16float(p_$[2 * $i + 1].zw));
          tile[region + lane * P_ROW + $iu] = select(vec4<u32>(first, second), vec4<u32>(second, first), swap == 1u);
        }
#end
        // Outputs: 32 queries by DIM.
#repeat m MATRICES
        let weights_$m = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, region + $mu * 16u * P_ROW, P_ROW);
#end
#repeat d DIM_MATRICES
        {
          let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&tile, TILE + $cu * 16u * STRIDE + $du * 2u, STRIDE);
#repeat m MATRICES
          sum_$m_$d = subgroupMatrixMultiplyAccumulate(weights_$m, right, sum_$m_$d);
#end
        }
#end
      }
#end
      workgroupBarrier();
#repeat i LOADS
      if mine_$i {
        tile[place_$i] = select(vec4<u32>(), k_next_$i, inside_$i);
        tile[TILE + place_$i] = select(vec4<u32>(), v_next_$i, inside_$i);
      }
#end
      if workgroupUniformLoad(&moves) != 0u {
        break;
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
      totals *= rescale;
#repeat m MATRICES
      {
        let factor = subgroupShuffle(rescale, $mu * 16u + lane % 16u);
#repeat d DIM_MATRICES
        subgroupMatrixStore<row_major>(&tile, region, sum_$m_$d, ROW);
        for (var i = lane / 16u; i < 16u; i += SUBGROUP / 16u) {
          let at = region + (lane % 16u) * ROW + i / 4u;
          tile[at][i % 4u] = bitcast<u32>(factor * bitcast<f32>(tile[at][i % 4u]));
        }
        sum_$m_$d = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&tile, region, ROW);
#end
      }
#end
    }
  }

  let inverse = 1.0 / ((totals.x + totals.y) + (totals.z + totals.w));
  // A lane writes eight neighbours of each 16x16 of outputs.
  let line = lane % 16u;
  let half = lane / 16u;
#repeat m MATRICES
  {
    let factor = subgroupShuffle(inverse, $mu * 16u + line);
    let token = query0 + subgroup * SUBGROUP + $mu * 16u + line;
#repeat d DIM_MATRICES
    subgroupMatrixStore<row_major>(&tile, region, sum_$m_$d, ROW);
    {
      let place = region + line * ROW + half * 2u;
      let low = factor * bitcast<vec4<f32>>(tile[place]);
      let high = factor * bitcast<vec4<f32>>(tile[place + 1u]);
      let d = $du * 16u + half * 8u;
      if token < params.query_tokens && d < DIM {
        store_eight(segment * params.query_tokens + token, head * DIM + d, low, high);
      }
    }
#end
  }
#end
}

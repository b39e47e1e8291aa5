// Attention, fourth rung, for heads of up to 256: the flash algorithm with both products on subgroup matrices, f16 operands and f32 sums.
// Operands and why scores take the way they do: matrix_operands.wgsl.
// One workgroup: PAIRS * 32 queries of one head of one segment (tile_and_head in params.wgsl). Two subgroups share 32 queries and
// have half of the dims each: of the products that make up scores, and of the outputs. So each of them reads half a row of keys and values for 32 queries, where
// one subgroup, whose registers hold 16 queries of so many dims, would read all of it for 16. A score is the sum of what both made of it; a subgroup turns those of
// 16 queries into probabilities, two lanes a query, and both multiply all of them.
// 16 keys and values arrive at a time, the next ones travelling from memory while the present ones are in use: keys take the place of those that scores are done
// with, values that of those that outputs are done with.
// Of heads of 256, outputs and queries are 192 of the 255 registers a thread may have, and all are in use: two more values that outlive the loop cost a quarter of
// the speed (256 to 198 TFLOP/s, 8192 tokens), and so do results that leave 16 bytes at a time, as flash_matrix.wgsl's do.
#include "attention/matrix_operands.wgsl"

@group(0) @binding(3) var<storage, read_write> out: array<u32>;

const PAIRS: u32 = 4u;
const HALF: u32 = 8u;  // DIM / 32, rounded up: matrices of dims that a subgroup has
const LOADS: u32 = 2u; // PIECES / THREADS, rounded up

const KEYS: u32 = 16u;
const THREADS: u32 = 2u * SUBGROUP * PAIRS;
const QUERIES: u32 = 32u * PAIRS;
const QUADS: u32 = HALF * 4u;   // vec4s (of 8 halves) in a row of a tile
const STRIDE: u32 = QUADS + 1u; // one of padding spreads the banks
const PIECES: u32 = KEYS * QUADS;
const EVEN: bool = PIECES == LOADS * THREADS;
const TILE: u32 = KEYS * STRIDE;
const ROW: u32 = 6u;   // vec4s of a row of scores, [query, key] f32: 16 of them and padding
const P_ROW: u32 = 3u; // vec4s of a row of probabilities, [query, key] f16
const STRIP: u32 = 16u * ROW;
const REGION: u32 = 2u * STRIP; // a subgroup's part of the scores of 32 queries
const WEIGHTS: u32 = 32u * P_ROW;

// Whether some maximum of the workgroup's is to move.
var<workgroup> moves: atomic<u32>;
// A tile of keys, one of values, a region for each subgroup, and the probabilities of each pair.
var<workgroup> tile: array<vec4<u32>, 2u * TILE + 2u * PAIRS * REGION + PAIRS * WEIGHTS>;

// Two neighbouring results.
fn store_pair(row: u32, column: u32, values: vec2<f32>) {
  let width = params.heads * DIM;
  let at = row * width + column;
  if OUT_BLOCKS {
    out[block_word(row, column, width)] = narrow_pair(values.x, values.y);
  } else if OUT_F16 {
    out[at >> 1u] = narrow_pair(values.x, values.y);
  } else {
    out[at] = bitcast<u32>(values.x);
    out[at + 1u] = bitcast<u32>(values.y);
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
  let pair = subgroup / 2u;
  let side = subgroup % 2u; // which dims, and whose queries' probabilities
  let both = 2u * TILE + pair * 2u * REGION; // the pair's regions
  let region = both + side * REGION;
  // The lane's query, and which eight of 16 keys. Every other four lanes read their scores in fours the other way round, which keeps lanes that read together off
  // each other's banks.
  let line = lane % 16u;
  let half = lane / 16u;
  let swap = (lane >> 2u) & 1u;
  let scores = both + side * STRIP + line * ROW + half * 2u;
  let weights = 2u * TILE + 2u * PAIRS * REGION + pair * WEIGHTS;
  let own_weights = weights + side * 16u * P_ROW;
  let t = query0 + pair * 32u + side * 16u + line;
  let visible = visible_keys(min(t, params.query_tokens - 1u));
  let visible_to_all = visible_keys(query0);
  let log2_scale = params.scale * 1.4426950408889634;
  let dims = side * HALF * 2u; // where the subgroup's dims begin in a row of a tile
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

#repeat m 2
#repeat d HALF
  var query_$m_$d = subgroup_matrix_left<f16, 16, 16>();
  var sum_$m_$d = subgroup_matrix_result<f32, 16, 16>();
#end
#end
  // Queries pass through both tiles, a pair's at a time.
#repeat p PAIRS
#repeat m 2
#repeat i LOADS
  if mine_$i {
    tile[$mu * TILE + place_$i] = q_piece(segment, query0 + $pu * 32u + $mu * 16u + row_$i, head, quad_$i);
  }
#end
#end
  workgroupBarrier();
  if pair == $pu {
#repeat m 2
#repeat d HALF
    query_$m_$d = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, $mu * TILE + dims + $du * 2u, STRIDE);
#end
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

  var most = NOTHING; // the largest score of this round
  var counts = true;  // whether this round is still to be added for the lane's query
  var key0 = 0u;
  loop {
    if thread == 0u {
      atomicStore(&moves, 0u);
    }
#repeat i LOADS
    if mine_$i {
      tile[place_$i] = select(vec4<u32>(), k[k_base + min(key0 + row_$i, last) * k_step + read_$i], inside_$i);
    }
    var k_next_$i = k[k_base + min(key0 + KEYS + row_$i, last) * k_step + read_$i];
    var v_next_$i = v[v_base + min(key0 + row_$i, last) * v_step + read_$i];
#end
    workgroupBarrier();

    loop {
      // The subgroup's part of the scores of 32 queries by 16 keys.
#repeat m 2
      var product_$m = subgroup_matrix_result<f32, 16, 16>();
#end
#repeat d HALF
      {
        let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, dims + $du * 2u, STRIDE);
#repeat m 2
        product_$m = subgroupMatrixMultiplyAccumulate(query_$m_$d, right, product_$m);
#end
      }
#end
#repeat m 2
      subgroupMatrixStore<row_major>(&tile, region + $mu * STRIP, product_$m, ROW);
#end
      workgroupBarrier();
      if key0 + KEYS > visible_to_all {
        let seen = max(visible, key0 + half * 8u) - (key0 + half * 8u);
#repeat i 8
        if $iu >= seen {
          tile[scores + $iu / 4u][$iu % 4u] = bitcast<u32>(NOTHING);
        }
#end
      }
      let four_0 = bitcast<vec4<f32>>(tile[scores + swap]) + bitcast<vec4<f32>>(tile[scores + REGION + swap]);
      let four_1 = bitcast<vec4<f32>>(tile[scores + (swap ^ 1u)]) + bitcast<vec4<f32>>(tile[scores + REGION + (swap ^ 1u)]);
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
      tile[own_weights + line * P_ROW + half] = select(vec4<u32>(first, second), vec4<u32>(second, first), swap == 1u);
      // The next keys and these values arrive, and those after them set out.
#repeat i LOADS
      if mine_$i {
        tile[place_$i] = select(vec4<u32>(), k_next_$i, inside_$i);
        tile[TILE + place_$i] = select(vec4<u32>(), v_next_$i, inside_$i);
      }
      k_next_$i = k[k_base + min(key0 + 2u * KEYS + row_$i, last) * k_step + read_$i];
      v_next_$i = v[v_base + min(key0 + KEYS + row_$i, last) * v_step + read_$i];
#end
      // Never runs, params.first being 0: its use of what was loaded keeps the compiler from moving the loads down to where they are needed.
      for (var i = 0u; i < params.first; i++) {
#repeat i LOADS
        out[i + $iu] = k_next_$i.x ^ v_next_$i.x;
#end
      }

      let moving = workgroupUniformLoad(&moves) != 0u;

      // Outputs: 32 queries by the subgroup's dims.
#repeat m 2
      let weights_$m = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, weights + $mu * 16u * P_ROW, P_ROW);
#end
#repeat d HALF
      {
        let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&tile, TILE + dims + $du * 2u, STRIDE);
#repeat m 2
        sum_$m_$d = subgroupMatrixMultiplyAccumulate(weights_$m, right, sum_$m_$d);
#end
      }
#end
      if moving {
        break;
      }
      key0 += KEYS;
      if key0 >= keys {
        break;
      }
    }
    workgroupBarrier();
    if key0 >= keys {
      break;
    }

    // The maximum of some queries moves, and the round is repeated for them.
    counts = (most - largest) * log2_scale > LEAD;
    let moved = select(largest, most, counts);
    let rescale = exp2((largest - moved) * log2_scale);
    largest = moved;
    total *= rescale;
    tile[own_weights + line][0] = bitcast<u32>(rescale);
    workgroupBarrier();
#repeat m 2
    let factor_$m = bitcast<f32>(tile[weights + $mu * 16u * P_ROW + line][0]);
#end
#repeat m 2
#repeat d HALF
    subgroupMatrixStore<row_major>(&tile, region, sum_$m_$d, ROW);
    for (var i = half; i < 16u; i += SUBGROUP / 16u) {
      let at = region + line * ROW + i / 4u;
      tile[at][i % 4u] = bitcast<u32>(factor_$m * bitcast<f32>(tile[at][i % 4u]));
    }
    sum_$m_$d = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&tile, region, ROW);
#end
#end
  }

  tile[own_weights + line][0] = bitcast<u32>(1.0 / (total + subgroupShuffleXor(total, 16u)));
  workgroupBarrier();
  // A lane writes four pairs of each 16x16 of outputs: pair lane % 8 of every fourth row.
  let column = 2u * (lane % 8u);
#repeat m 2
#repeat i 4
  let factor_$m_$i = bitcast<f32>(tile[weights + $mu * 16u * P_ROW + $iu * 4u + lane / 8u][0]);
#end
#end
#repeat m 2
#repeat d HALF
  subgroupMatrixStore<row_major>(&tile, region, sum_$m_$d, ROW);
#repeat i 4
  {
    let row = $iu * 4u + lane / 8u;
    let token = query0 + pair * 32u + $mu * 16u + row;
    let d = (side * HALF + $du) * 16u + column;
    if token < params.query_tokens && d < DIM {
      let place = region + row * ROW + column / 4u;
      let values = factor_$m_$i * bitcast<vec2<f32>>(vec2<u32>(tile[place][column % 4u], tile[place][column % 4u + 1u]));
      store_pair(segment * params.query_tokens + token, head * DIM + d, values);
    }
  }
#end
#end
#end
}

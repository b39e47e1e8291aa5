// Matmul, fifth rung: what subgroup_matrix.wgsl computes, of operands that lie in memory as it reads them. What that buys: a load of a subgroup is 512 bytes in a
// row instead of 8 pieces of 64, and half a step of K can be brought at a time, so that products, loads from workgroup memory and stores of what
// comes next all run side by side: 282 to 340 TFLOP/s at 4096^3, 266 to 317 at 33312x4096x1024 (H200).
// x: [M, K], w: [N, K], f16 in blocks (common/blocks.wgsl), K a multiple of 32. Epilogue: epilogue.wgsl; results: matrix_epilogue.wgsl.
// One workgroup: a tile of matrix_tile.wgsl. While one half of a step is multiplied from registers, the other one comes from workgroup memory into registers, and
// the half after the next, which set out a whole step before, takes the place of the first. A barrier a half is enough for that.
// Workgroups may share the K of a tile, and with GATED the product is the first half of a SwiGLU, both as in subgroup_matrix.wgsl.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "matmul/epilogue.wgsl"

const GATED: bool = false;
#include "matmul/matrix_tile.wgsl"
#include "matmul/panels.wgsl"
#include "matmul/matrix_epilogue.wgsl"

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;

// Loads of a thread in half a step: a subgroup brings 16 rows at a time.
const X_HALF: u32 = TILE_ROWS * 2u / THREADS;
const W_HALF: u32 = TILE_COLUMNS * 2u / THREADS;
const LOAD_ROWS_HALF: u32 = THREADS / 2u;
const PIECES: u32 = 32u; // of 16 bytes: 16 rows of half a step

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let index = group.y * groups.x + group.x;
  if index >= row_tiles() * column_tiles() {
    return;
  }
  let origin = tile_origin(index);
  let row0 = origin.x;
  let column0 = origin.y;

  let subgroup_row = (subgroup / GRID_COLUMNS) * ROWS * 16u;
  let subgroup_column = (subgroup % GRID_COLUMNS) * COLUMNS * 16u;

#repeat r ROWS
#repeat c COLUMNS
  var sum_$r_$c = subgroup_matrix_result<f32, 16, 16>();
#end
#end
  // Where this thread's pieces lie in memory and in the tiles: row lane % 16 of a strip of 16, the first or the second eight of a half of K. Rows beyond the end
  // repeat the last ones.
  let eighths = params.K / 8u;
  let begin = group.z * params.split;
  let end = min(begin + params.split, eighths);
  let first_row = thread / SUBGROUP * 16u + lane % 16u;
#repeat i X_HALF
  let x_row_$i = first_row + $iu * LOAD_ROWS_HALF;
  let x_from_$i = block_row(min(row0 + x_row_$i, params.M - 1u), lane / 16u, params.K);
  let x_place_$i = x_row_$i * STRIDE + lane / 16u;
#end
#repeat i W_HALF
  let w_row_$i = first_row + $iu * LOAD_ROWS_HALF;
  let w_from_$i = block_row(row_behind(column0 + w_row_$i, params.N), lane / 16u, params.K);
  let w_place_$i = W_START + w_row_$i * STRIDE + lane / 16u;
#end
  // Pieces are counted from the beginning of a strip; those beyond the last half step repeat it.
  var next = begin * 16u;
  let last = end * 16u - PIECES;
  // The first step goes to the tiles, the second one sets out.
#repeat h 2
#repeat i X_HALF
  var x_$h_$i = x[x_from_$i + next + $hu * PIECES];
#end
#repeat i W_HALF
  var w_$h_$i = w[w_from_$i + next + $hu * PIECES];
#end
#end
  next += 2u * PIECES;
#repeat h 2
#repeat i X_HALF
  tile[x_place_$i + $hu * 2u] = x_$h_$i;
  x_$h_$i = x[x_from_$i + min(next + $hu * PIECES, last)];
#end
#repeat i W_HALF
  tile[w_place_$i + $hu * 2u] = w_$h_$i;
  w_$h_$i = w[w_from_$i + min(next + $hu * PIECES, last)];
#end
#end
  workgroupBarrier();
#repeat r ROWS
  var left_0_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, (subgroup_row + $ru * 16u) * STRIDE, STRIDE);
#end
#repeat c COLUMNS
  var right_0_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, W_START + (subgroup_column + $cu * 16u) * STRIDE, STRIDE);
#end

  // The outer loop runs once, but compilers cannot know that (params.never is 0), and do not write the inner one out eight times.
  var k0 = begin;
  while k0 < end {
    loop {
      next += 2u * PIECES;
      // The first half is multiplied, the second one loaded; the next step's first half takes the first one's place.
      workgroupBarrier();
#repeat r ROWS
      let left_1_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, (subgroup_row + $ru * 16u) * STRIDE + 2u, STRIDE);
#end
#repeat c COLUMNS
      let right_1_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, W_START + (subgroup_column + $cu * 16u) * STRIDE + 2u, STRIDE);
#end
#repeat c COLUMNS
#repeat r ROWS
      sum_$r_$c = subgroupMatrixMultiplyAccumulate(left_0_$r, right_0_$c, sum_$r_$c);
#end
#end
#repeat i X_HALF
      tile[x_place_$i] = x_0_$i;
      x_0_$i = x[x_from_$i + min(next, last)];
#end
#repeat i W_HALF
      tile[w_place_$i] = w_0_$i;
      w_0_$i = w[w_from_$i + min(next, last)];
#end
      // The other way round.
      workgroupBarrier();
#repeat r ROWS
      left_0_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, (subgroup_row + $ru * 16u) * STRIDE, STRIDE);
#end
#repeat c COLUMNS
      right_0_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, W_START + (subgroup_column + $cu * 16u) * STRIDE, STRIDE);
#end
#repeat c COLUMNS
#repeat r ROWS
      sum_$r_$c = subgroupMatrixMultiplyAccumulate(left_1_$r, right_1_$c, sum_$r_$c);
#end
#end
#repeat i X_HALF
      tile[x_place_$i + 2u] = x_1_$i;
      x_1_$i = x[x_from_$i + min(next + PIECES, last)];
#end
#repeat i W_HALF
      tile[w_place_$i + 2u] = w_1_$i;
      w_1_$i = w[w_from_$i + min(next + PIECES, last)];
#end
      // Never runs. Its use of what was loaded keeps the compiler from moving the loads down to their use, where they would be waited for (300 TFLOP/s, not 340).
      for (var i = 0u; i < params.never; i++) {
#repeat i X_HALF
        out[i + $iu] = x_0_$i ^ x_1_$i;
#end
#repeat i W_HALF
        out[i + $iu] = w_0_$i ^ w_1_$i;
#end
      }
      k0 += QUADS;
      if params.never != 0u {
        break;
      }
      if k0 >= end {
        break;
      }
    }
  }
  workgroupBarrier(); // results leave through the tiles' memory

#include "matmul/matrix_results.wgsl"
}

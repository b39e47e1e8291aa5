// Matmul, fourth rung: out[m, n] = sum_k x[m, k] * w[n, k] on subgroup matrices (tensor cores), f16 operands and f32 sums. K must be a multiple of 8.
// x: [M, K] f16. w: [N, K] f16, bf16 (exact in f16 between 6e-5 and 65504) or f32 (rounded). Epilogue and result: epilogue.wgsl.
// residual: f32 [M, N]. out: [M, N], f32 (N a multiple of 4) or f16 (of 8): 16 bytes are read and stored at a time.
// One workgroup: a tile of matrix_tile.wgsl, which says how it works.
// Where tiles would fill the card badly, workgroups share the K of a tile: each takes params.split vec4s of it (z: which) and leaves its sums, without an epilogue,
// in an out of f32 [splits, M, params.columns], to join.wgsl. Elsewhere params.split is all of K.
// GATED: w holds gate rows, then as many up rows, and out[m, f] = params.scale * silu(gate . x) * (up . x) (SwiGLU; no epilogue), [M, N / 2]. A strip of results
// then is half gate, half up, and what belongs together meets in one lane.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "matmul/epilogue.wgsl"

const W_DTYPE: u32 = 0u;
const TAIL: bool = true; // K is no multiple of STEP
const GATED: bool = false;
#include "matmul/matrix_tile.wgsl"
#include "matmul/panels.wgsl"
#include "matmul/matrix_epilogue.wgsl"

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;

// Eight weights; `more` holds the second half of them if they are f32.
struct Weights {
  words: vec4<u32>,
  more: vec4<u32>,
}

fn load_w(quad: u32) -> Weights {
  if W_DTYPE == DTYPE_F32 {
    return Weights(w[2u * quad], w[2u * quad + 1u]);
  }
  return Weights(w[quad], vec4<u32>());
}

// Weights that are f16 already are stored as they arrive. A copy first, which the compiler cannot know to be one (params.never is 0), brings 2 to 5 % on the card
// measured, probably by freeing the registers for the next ones sooner. Where weights are converted, that costs more than it brings.
fn copied(words: vec4<u32>) -> vec4<u32> {
  if W_DTYPE == DTYPE_F16 {
    return words | vec4<u32>(params.never);
  }
  return words;
}

fn to_f16(raw: Weights) -> vec4<u32> {
  if W_DTYPE == DTYPE_F16 {
    return copied(raw.words);
  }
  if W_DTYPE == DTYPE_F32 {
    let a = bitcast<vec4<f32>>(raw.words);
    let b = bitcast<vec4<f32>>(raw.more);
    return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
  }
  return vec4<u32>(
    pack2x16float(widen_pair(raw.words.x, DTYPE_BF16)),
    pack2x16float(widen_pair(raw.words.y, DTYPE_BF16)),
    pack2x16float(widen_pair(raw.words.z, DTYPE_BF16)),
    pack2x16float(widen_pair(raw.words.w, DTYPE_BF16)),
  );
}

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
  // Where this thread's pieces lie in memory and in the tiles. Rows and columns of K beyond the end repeat the last ones.
  let row_quads = params.K / 8u;
  let quad = thread % QUADS;
  let first_row = first_load_row(thread);
  let begin = group.z * params.split;
  let end = min(begin + params.split, row_quads);
  let first_quad = min(begin + quad, row_quads - 1u);
#repeat i X_LOADS
  let x_row_$i = first_row + $iu * LOAD_ROWS;
  let x_base_$i = min(row0 + x_row_$i, params.M - 1u) * row_quads;
  let x_place_$i = x_row_$i * STRIDE + quad;
  var x_next_$i = x[x_base_$i + first_quad];
#end
#repeat i W_LOADS
  let w_row_$i = first_row + $iu * LOAD_ROWS;
  let w_base_$i = row_behind(column0 + w_row_$i, params.N) * row_quads;
  let w_place_$i = W_START + w_row_$i * STRIDE + quad;
  var w_next_$i = load_w(w_base_$i + first_quad);
#end

  // The outer loop runs once, but compilers cannot know that (params.never is 0): the driver measured writes a plain loop out eight times, which takes twice as
  // long to compile. It runs 1 to 3 % faster at K = 2560, 3 % slower with GELU, else the same.
  var k0 = begin;
  while k0 < end {
    loop {
      let at = k0 + quad;
#repeat i X_LOADS
      tile[x_place_$i] = copied(select(x_next_$i, vec4<u32>(), TAIL && at >= row_quads));
#end
#repeat i W_LOADS
      tile[w_place_$i] = to_f16(w_next_$i);
#end
      let next = min(at + QUADS, row_quads - 1u);
#repeat i X_LOADS
      x_next_$i = x[x_base_$i + next];
#end
#repeat i W_LOADS
      w_next_$i = load_w(w_base_$i + next);
#end
      // Never runs. Its use of what was loaded keeps the compiler from moving the loads down to their use, where they would be waited for.
      for (var i = 0u; i < params.never; i++) {
#repeat i X_LOADS
        out[i + $iu] = x_next_$i;
#end
#repeat i W_LOADS
        out[i + $iu] = w_next_$i.words ^ w_next_$i.more;
#end
      }
      workgroupBarrier();
#repeat k KSTEPS
#repeat r ROWS
      let left_$k_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, (subgroup_row + $ru * 16u) * STRIDE + $ku * 2u, STRIDE);
#end
#repeat c COLUMNS
      let right_$k_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, W_START + (subgroup_column + $cu * 16u) * STRIDE + $ku * 2u, STRIDE);
#repeat r ROWS
      sum_$r_$c = subgroupMatrixMultiplyAccumulate(left_$k_$r, right_$k_$c, sum_$r_$c);
#end
#end
#end
      workgroupBarrier();
      k0 += QUADS;
      if params.never != 0u {
        break;
      }
      if k0 >= end {
        break;
      }
    }
  }

#include "matmul/matrix_results.wgsl"
}

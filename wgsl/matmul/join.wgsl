// Matmul, what follows register.wgsl, subgroup_matrix.wgsl and blocked_matrix.wgsl where K was shared: out[m, column0 + n] = epilogue of sum_s partial[s, m, n].
// partial: f32 [SPLITS, M, params.N]; out: [M, params.columns], f32, f16, or f16 in blocks where OUT_BLOCKS (common/blocks.wgsl). Epilogue: store_pair.wgsl,
// whose numbering of bindings leaves number 1 to w.
// One workgroup: 512 results one after the other, two a thread: neighbours where they share a word, else 256 apart.
#include "matmul/store_pair.wgsl"
#include "common/blocks.wgsl"
#include "common/grid.wgsl"

const SPLITS: u32 = 2u;
const OUT_BLOCKS: bool = false;

@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;

fn sum_at(at: u32) -> f32 {
  var sum = 0.0;
#repeat s SPLITS
  sum += partial[$su * params.M * params.N + at];
#end
  return sum;
}

fn result_at(at: u32) -> f32 {
  return finish(at / params.N, params.column0 + at % params.N, sum_at(at));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let last = params.M * params.N - 1u;
  let start = line_index(workgroup, counts) * 512u;
  let a = start + select(thread, 2u * thread, OUT_F16);
  let b = start + select(thread + 256u, 2u * thread + 1u, OUT_F16);
  let value_a = result_at(min(a, last));
  let value_b = result_at(min(b, last));
  if a > last {
    return;
  }
  let row = a / params.N;
  let column = params.column0 + a % params.N;
  if OUT_F16 {
    let word = (row * params.columns + column) >> 1u;
    out[select(word, block_word(row, column, params.columns), OUT_BLOCKS)] = narrow_pair(value_a, value_b);
    return;
  }
  out[row * params.columns + column] = bitcast<u32>(value_a);
  if b <= last {
    out[b / params.N * params.columns + params.column0 + b % params.N] = bitcast<u32>(value_b);
  }
}

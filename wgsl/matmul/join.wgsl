// Matmul, what follows subgroup_matrix.wgsl where K was split: out[m, n] = epilogue of sum_s partial[s, m, n].
// partial: f32 [SPLITS, M, params.columns]. Epilogue and result: epilogue.wgsl, whose numbering of bindings leaves number 1 to w.
// One workgroup: 256 pairs of neighbouring columns.
#include "matmul/epilogue.wgsl"
#include "common/grid.wgsl"

const SPLITS: u32 = 2u;

@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let pairs = (params.columns + 1u) / 2u;
  let pair = line_index(workgroup, counts) * 256u + thread;
  let row = pair / pairs;
  let column = (pair % pairs) * 2u;
  if row >= params.M {
    return;
  }
  let second = min(column + 1u, params.columns - 1u);
  var sums = vec2<f32>();
#repeat s SPLITS
  {
    let at = ($su * params.M + row) * params.columns;
    sums += vec2<f32>(partial[at + column], partial[at + second]);
  }
#end
  store_pair(row, column, sums.x, sums.y);
}

// Matmul, what follows register.wgsl and subgroup_matrix.wgsl where K was split: out[m, n] = epilogue of sum_s partial[s, m, n].
// partial: f32 [SPLITS, M, params.columns]. Epilogue and result: store_pair.wgsl, whose numbering of bindings leaves number 1 to w.
// One workgroup: 512 results one after the other, two a thread: neighbours where they share a word, else 256 apart.
#include "matmul/store_pair.wgsl"
#include "common/grid.wgsl"

const SPLITS: u32 = 2u;

@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;

fn sum_at(at: u32) -> f32 {
  var sum = 0.0;
#repeat s SPLITS
  sum += partial[$su * params.M * params.columns + at];
#end
  return sum;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let last = params.M * params.columns - 1u;
  let start = line_index(workgroup, counts) * 512u;
  let a = start + select(thread, 2u * thread, OUT_F16);
  let b = start + select(thread + 256u, 2u * thread + 1u, OUT_F16);
  let sum_a = sum_at(min(a, last));
  let sum_b = sum_at(min(b, last));
  if a > last {
    return;
  }
  let value_a = finish(a / params.columns, a % params.columns, sum_a);
  let to = min(b, last);
  let value_b = finish(to / params.columns, to % params.columns, sum_b);
  if OUT_F16 {
    out[a >> 1u] = narrow_pair(value_a, value_b);
    return;
  }
  out[a] = bitcast<u32>(value_a);
  if b <= last {
    out[b] = bitcast<u32>(value_b);
  }
}

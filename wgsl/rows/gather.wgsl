// y[i] = x[index[i]], zeros where the index is outside of [0, rows)
//
// x      [rows, dim]   f32
// index  [count]       i32
// y      [count, dim]  f32
// One workgroup: 1024 elements one after the other, four a thread.
#include "common/grid.wgsl"

struct Params {
  rows: u32,
  count: u32,
  dim: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let last = params.count * params.dim - 1u;
  let start = line_index(workgroup, counts) * 1024u + thread;
#repeat n 4
  let i_$n = min(start + $nu * 256u, last);
  let row_$n = index[i_$n / params.dim]; // read as unsigned, a negative index is larger than any row
  let value_$n = select(0.0, x[min(row_$n, params.rows - 1u) * params.dim + i_$n % params.dim], row_$n < params.rows);
#end
#repeat n 4
  y[i_$n] = value_$n;
#end
}

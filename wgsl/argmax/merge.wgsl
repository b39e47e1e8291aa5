// Index of the largest candidate of each row.
//   x:    [rows, parts, 2] u32: (order-preserving key, index), from scan.wgsl or sample/draw.wgsl
//   out:  [rows] i32; -1 where no candidate has a key, which is more than 0
// One workgroup merges one row.
#include "argmax/order.wgsl"
#include "common/grid.wgsl"

struct Params {
  rows: u32,
  parts: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let row = line_index(workgroup, counts);
  var best = NOTHING;
  if row < params.rows {
    for (var i = local; i < params.parts; i += 256u) {
      best = larger(best, x[row * params.parts + i]);
    }
  }
  best = workgroup_largest(best, local);
  if local == 0u && row < params.rows {
    out[row] = select(i32(best.y), -1, best.x == 0u);
  }
}

// Largest value of each part of each row, as (order-preserving key, index within the row); NaN never wins; the lowest index among equals.
//   x:    [rows, columns] f32, as bits
//   out:  [rows, parts, 2] u32
// Workgroup (part, row) reads `part_size` consecutive values of one row.
#include "argmax/order.wgsl"
#include "common/grid.wgsl"

struct Params {
  rows: u32,
  columns: u32,
  parts: u32,
  part_size: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let line = line_index(workgroup, counts);
  let row = line / params.parts;
  let first = (line % params.parts) * params.part_size;
  var best = NOTHING;
  if row < params.rows {
    let end = min(first + params.part_size, params.columns);
    for (var i = first + local; i < end; i += 256u) {
      best = larger(best, vec2<u32>(order_key(x[row * params.columns + i]), i));
    }
  }
  best = workgroup_largest(best, local);
  if local == 0u && row < params.rows {
    out[line] = best;
  }
}

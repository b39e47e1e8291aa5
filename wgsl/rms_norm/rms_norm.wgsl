// y = x * rsqrt(mean(x^2) + eps) * (weight_offset + weight)        over the last dimension
//
// x       [rows, dim]  f32
// weight  [dim]        f32
// y       [rows, dim]  f32 or f16 (OUT_F16; dim even then), saturating in f16
// Everything is computed in f32. A workgroup normalises 256 / LANES rows, one per group of lanes.
// Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"
#include "common/lane_sum.wgsl"

const OUT_F16: bool = false;

struct Params {
  rows: u32,
  dim: u32,
  eps: f32,
  weight_offset: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

fn scaled(start: u32, i: u32, scale: f32) -> f32 {
  return x[start + i] * scale * (params.weight_offset + weight[i]);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = line_index(workgroup, counts) * GROUPS + thread / LANES;
  let lane = thread % LANES;
  let start = row * params.dim;
  // A group beyond the last row has no elements but takes part in the barriers.
  let count = select(0u, params.dim, row < params.rows);

  var squares = 0.0;
  for (var i = lane; i < count; i += LANES) {
    squares += x[start + i] * x[start + i];
  }
  let scale = inverseSqrt(lane_sum(squares, thread) / f32(params.dim) + params.eps);

  if OUT_F16 {
    for (var i = 2u * lane; i < count; i += 2u * LANES) {
      y[(start + i) / 2u] = narrow_pair(scaled(start, i, scale), scaled(start, i + 1u, scale));
    }
  } else {
    for (var i = lane; i < count; i += LANES) {
      y[start + i] = bitcast<u32>(scaled(start, i, scale));
    }
  }
}

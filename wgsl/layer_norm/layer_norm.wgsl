// y = (x - mean(x)) * rsqrt(var(x) + eps) * weight + bias        over the last dimension
//
// x             [rows, dim]  f32
// weight, bias  [dim]        f32; absent (1 and 0) where HAS_WEIGHT, HAS_BIAS are false, anything may be bound then
// y             [rows, dim]  f32 or f16 (OUT_F16; dim even then), saturating in f16
// Everything is computed in f32. The variance is a second pass over the differences from the mean: E[x^2] - E[x]^2 cancels where the
// mean is large. A workgroup normalises 256 / LANES rows, one per group of lanes.
// Source: Ba, Kiros and Hinton, Layer Normalization, 2016.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"
#include "common/lane_sum.wgsl"

const HAS_WEIGHT: bool = true;
const HAS_BIAS: bool = true;
const OUT_F16: bool = false;

struct Params {
  rows: u32,
  dim: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

fn normalised(start: u32, i: u32, mean: f32, scale: f32) -> f32 {
  var value = (x[start + i] - mean) * scale;
  if HAS_WEIGHT {
    value *= weight[i];
  }
  if HAS_BIAS {
    value += bias[i];
  }
  return value;
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

  var sum = 0.0;
  for (var i = lane; i < count; i += LANES) {
    sum += x[start + i];
  }
  let mean = lane_sum(sum, thread) / f32(params.dim);

  var squares = 0.0;
  for (var i = lane; i < count; i += LANES) {
    let difference = x[start + i] - mean;
    squares += difference * difference;
  }
  let scale = inverseSqrt(lane_sum(squares, thread) / f32(params.dim) + params.eps);

  if OUT_F16 {
    for (var i = 2u * lane; i < count; i += 2u * LANES) {
      y[(start + i) / 2u] = narrow_pair(normalised(start, i, mean, scale), normalised(start, i + 1u, mean, scale));
    }
  } else {
    for (var i = lane; i < count; i += LANES) {
      y[start + i] = bitcast<u32>(normalised(start, i, mean, scale));
    }
  }
}

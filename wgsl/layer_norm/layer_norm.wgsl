// y = (x - mean(x)) * rsqrt(var(x) + eps) * weight + bias        over the last dimension
//
// x             [rows, dim]  f32, dim a multiple of 4; where SOME, rows of y are count neighbouring ones of x from row `first` on, and again `every` rows later
// weight, bias  [dim]        f32; absent (1 and 0) where HAS_WEIGHT, HAS_BIAS are false, anything may be bound then
// y             [rows, dim]  f32 or f16 (OUT_F16), saturating in f16; in blocks (common/blocks.wgsl) where OUT_BLOCKS
// Everything is computed in f32. The variance is a second pass over the differences from the mean: E[x^2] - E[x]^2 cancels where the
// mean is large. A workgroup normalises 256 / LANES rows, one per group of lanes; a lane reads its PIECES quads of a row once and keeps them.
// Source: Ba, Kiros and Hinton, Layer Normalization, 2016.
#include "common/dtype.wgsl"
#include "common/blocks.wgsl"
#include "common/grid.wgsl"
#include "common/lane_sum.wgsl"

const HAS_WEIGHT: bool = true;
const HAS_BIAS: bool = true;
const OUT_F16: bool = false;
const OUT_BLOCKS: bool = false;
const SOME: bool = false;
const PIECES: u32 = 1u;

struct Params {
  rows: u32,
  dim: u32,
  eps: f32,
  first: u32,
  count: u32,
  every: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec2<u32>>;

// Quad `quad` of a row of y, given its differences from the mean.
fn store(row: u32, quad: u32, differences: vec4<f32>, scale: f32) {
  let quads = params.dim / 4u;
  let at = select(row * quads + quad, block_word(row, 4u * quad, params.dim) / 2u, OUT_BLOCKS);
  var value = differences * scale;
  if HAS_WEIGHT {
    value *= weight[quad];
  }
  if HAS_BIAS {
    value += bias[quad];
  }
  if OUT_F16 {
    y[at] = vec2<u32>(narrow_pair(value.x, value.y), narrow_pair(value.z, value.w));
  } else {
    y[2u * at] = bitcast<vec2<u32>>(value.xy);
    y[2u * at + 1u] = bitcast<vec2<u32>>(value.zw);
  }
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = line_index(workgroup, counts) * GROUPS + group_of(thread);
  let quads = params.dim / 4u;
  let read = select(row, params.first + row / params.count * params.every + row % params.count, SOME) * quads;

  // A group beyond the last row has no elements but takes part in the barriers.
  var sum = 0.0;
#repeat p PIECES
  let quad_$p = lane_of(thread) + $pu * LANES;
  let counts_$p = quad_$p < quads && row < params.rows;
  let x_$p = select(vec4<f32>(), x[select(0u, read + quad_$p, counts_$p)], counts_$p);
  sum += dot(x_$p, vec4<f32>(1.0));
#end
  let mean = lane_sum(sum, thread) / f32(params.dim);

  var squares = 0.0;
#repeat p PIECES
  let differences_$p = select(vec4<f32>(), x_$p - mean, counts_$p);
  squares += dot(differences_$p, differences_$p);
#end
  let scale = inverseSqrt(lane_sum(squares, thread) / f32(params.dim) + params.eps);

#repeat p PIECES
  if counts_$p {
    store(row, quad_$p, differences_$p, scale);
  }
#end
}

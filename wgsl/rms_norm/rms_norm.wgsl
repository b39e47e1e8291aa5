// y = x * rsqrt(mean(x^2) + eps) * (weight_offset + weight)        over the last dimension
//
// x       [rows, dim]  f32, dim a multiple of 4
// weight  [dim]        f32
// y       [rows, dim]  f32 or f16 (OUT_F16), saturating in f16; in blocks (common/blocks.wgsl) where OUT_BLOCKS
// Everything is computed in f32. A workgroup normalises 256 / LANES rows, one per group of lanes; a lane reads its PIECES quads of a row once and keeps them.
// Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.
#include "common/dtype.wgsl"
#include "common/blocks.wgsl"
#include "common/grid.wgsl"
#include "common/lane_sum.wgsl"

const OUT_F16: bool = false;
const OUT_BLOCKS: bool = false;
const PIECES: u32 = 1u;

struct Params {
  rows: u32,
  dim: u32,
  eps: f32,
  weight_offset: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u32>>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = line_index(workgroup, counts) * GROUPS + group_of(thread);
  let quads = params.dim / 4u;
  let start = row * quads;

  // A group beyond the last row has no elements but takes part in the barriers.
  var squares = 0.0;
#repeat p PIECES
  let quad_$p = lane_of(thread) + $pu * LANES;
  let counts_$p = quad_$p < quads && row < params.rows;
  let x_$p = select(vec4<f32>(), x[select(0u, start + quad_$p, counts_$p)], counts_$p);
  squares += dot(x_$p, x_$p);
#end
  let scale = inverseSqrt(lane_sum(squares, thread) / f32(params.dim) + params.eps);

#repeat p PIECES
  if counts_$p {
    let value = x_$p * scale * (params.weight_offset + weight[quad_$p]);
    let at = select(start + quad_$p, block_word(row, 4u * quad_$p, params.dim) / 2u, OUT_BLOCKS);
    if OUT_F16 {
      y[at] = vec2<u32>(narrow_pair(value.x, value.y), narrow_pair(value.z, value.w));
    } else {
      y[2u * at] = bitcast<vec2<u32>>(value.xy);
      y[2u * at + 1u] = bitcast<vec2<u32>>(value.zw);
    }
  }
#end
}

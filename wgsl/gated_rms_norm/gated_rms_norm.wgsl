// y = o * rsqrt(mean(o^2) + eps) * weight * silu(z)        per (token, head), over the head's dim elements
//
// o       [tokens, heads, dim]  f32
// weight  [dim]                 f32, shared by all heads
// z       f32, element (t, h, d) at z_offset + t * z_token_stride + h * z_head_stride + d
// y       [tokens, heads * dim] f32 or f16 (OUT_F16; dim even then), saturating in f16; in blocks (common/blocks.wgsl) where OUT_BLOCKS
// Everything is computed in f32. A workgroup normalises 256 / LANES heads, one per group of lanes: one head of TOGETHER neighbouring tokens, then the next head.
// In blocks, neighbours then store neighbouring rows.
// Source: the output norm of Gated DeltaNet, Yang, Kautz and Hatamizadeh, 2024.
#include "common/blocks.wgsl"
#include "common/dtype.wgsl"
#include "common/grid.wgsl"
#include "common/lane_sum.wgsl"
#include "common/sigmoid.wgsl"

const OUT_F16: bool = false;
const OUT_BLOCKS: bool = false;
const TOGETHER: u32 = 1u;

struct Params {
  tokens: u32,
  heads: u32,
  dim: u32,
  eps: f32,
  z_offset: u32,
  z_token_stride: u32,
  z_head_stride: u32,
}

@group(0) @binding(0) var<storage, read> o: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

fn gated(o_start: u32, z_start: u32, i: u32, scale: f32) -> f32 {
  return o[o_start + i] * scale * weight[i] * silu(z[z_start + i]);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let vector = line_index(workgroup, counts) * GROUPS + group_of(thread);
  let lane = lane_of(thread);
  let token = vector / (TOGETHER * params.heads) * TOGETHER + vector % TOGETHER;
  let head = vector / TOGETHER % params.heads;
  let o_start = (token * params.heads + head) * params.dim;
  let z_start = params.z_offset + token * params.z_token_stride + head * params.z_head_stride;
  // A group beyond the last token has no elements but takes part in the barriers.
  let count = select(0u, params.dim, token < params.tokens);

  var squares = 0.0;
  for (var i = lane; i < count; i += LANES) {
    squares += o[o_start + i] * o[o_start + i];
  }
  let scale = inverseSqrt(lane_sum(squares, thread) / f32(params.dim) + params.eps);

  if OUT_F16 {
    for (var i = 2u * lane; i < count; i += 2u * LANES) {
      let in_block = block_word(token, head * params.dim + i, params.heads * params.dim);
      y[select((o_start + i) / 2u, in_block, OUT_BLOCKS)] = narrow_pair(gated(o_start, z_start, i, scale), gated(o_start, z_start, i + 1u, scale));
    }
  } else {
    for (var i = lane; i < count; i += LANES) {
      y[o_start + i] = bitcast<u32>(gated(o_start, z_start, i, scale));
    }
  }
}

// What both forms of head_norm_rope share: where vectors lie, and which one a group of lanes takes.
//
// input         f32 or f16 (IN_DTYPE), element (t, h, d) at in_offset + t * in_token_stride + h * in_head_stride + d
// weight, bias  [dim] f32; anything may be bound where the variant does not read them, and for the table
// table         [tokens, BLOCKS * HALF] of (cos, sin), f32
// target        f32 or f16 (OUT_F16; offset, strides and dim even then), laid out like input with its own offset and strides
// cursor        u32: tokens seen, tokens drawn (kernels/cursor.ts). OUT_AT_CURSOR: target begins at the token seen next;
//               TABLE_AT_CURSOR: the first token's row of the table is the number of tokens drawn
// Everything is computed in f32. A workgroup takes 256 / LANES heads, one per group of lanes.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"
#include "common/lane_sum.wgsl"

const NORM: u32 = 0u;
const HAS_BIAS: bool = false;
const BLOCKS: u32 = 0u;
const HALF: u32 = 1u;
const IN_DTYPE: u32 = 0u;
const OUT_F16: bool = false;
const OUT_AT_CURSOR: bool = false;
const TABLE_AT_CURSOR: bool = false;

struct Params {
  tokens: u32,
  heads: u32,
  dim: u32,
  in_offset: u32,
  in_token_stride: u32,
  in_head_stride: u32,
  out_offset: u32,
  out_token_stride: u32,
  out_head_stride: u32,
  eps: f32,
  weight_offset: f32,
}

@group(0) @binding(5) var<storage, read> cursor: array<u32>;

struct Moments {
  mean: f32,
  scale: f32,
}

// A group's vector. A group beyond the last head has no elements but takes part in the barriers.
struct Vector {
  count: u32,
  source: u32,
  destination: u32,
  table_row: u32,
}

fn vector_of(group: u32) -> Vector {
  let token = group / params.heads;
  let head = group % params.heads;
  var vector = Vector(
    select(0u, params.dim, token < params.tokens),
    params.in_offset + token * params.in_token_stride + head * params.in_head_stride,
    params.out_offset + token * params.out_token_stride + head * params.out_head_stride,
    token,
  );
  if OUT_AT_CURSOR {
    vector.destination += cursor[0] * params.out_token_stride;
  }
  if TABLE_AT_CURSOR {
    vector.table_row += cursor[1];
  }
  return vector;
}

// Per (token, head): optionally normalises the vector, optionally rotates its leading elements, and stores it.
//
// u = v                                                                                        NORM 0
// u = (v - m) * rsqrt(mean((v - m)^2) + eps) * (weight_offset + weight) + bias (if HAS_BIAS)
//     with m = 0: RMS norm                                                                     NORM 1
//     with m = mean(v): layer norm                                                             NORM 2
// BLOCKS blocks of 2 * HALF elements are rotated, each in pairs (base + j, base + HALF + j), j < HALF, base = 2 * HALF * block, by
// angle block * HALF + j of the token; elements beyond them pass through:
//   out[base + j]        = u[base + j] cos - u[base + HALF + j] sin
//   out[base + HALF + j] = u[base + HALF + j] cos + u[base + j] sin
//
// input         f32, element (t, h, d) at in_offset + t * in_token_stride + h * in_head_stride + d
// weight, bias  [dim] f32; anything may be bound where the variant does not read them, and for the table
// table         [tokens, BLOCKS * HALF] of (cos, sin), f32
// target        f32 or f16 (OUT_F16; offset, strides and dim even then), laid out like input with its own offset and strides
// cursor        u32: tokens seen, tokens drawn (kernels/cursor.ts). OUT_AT_CURSOR: target begins at the token seen next;
//               TABLE_AT_CURSOR: the first token's row of the table is the number of tokens drawn
// Everything is computed in f32. A workgroup takes 256 / LANES heads, one per group of lanes.
// Sources: Su et al., RoFormer, 2021; the half-split pairing is GPT-NeoX's; Henry et al., Query-Key Normalization, 2020.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"
#include "common/lane_sum.wgsl"

const NORM: u32 = 0u;
const HAS_BIAS: bool = false;
const BLOCKS: u32 = 0u;
const HALF: u32 = 1u;
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

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> target_words: array<u32>;
@group(0) @binding(5) var<storage, read> cursor: array<u32>;

struct Moments {
  mean: f32,
  scale: f32,
}

fn moments(start: u32, count: u32, thread: u32) -> Moments {
  let lane = thread % LANES;
  var mean = 0.0;
  if NORM == 2u {
    var sum = 0.0;
    for (var i = lane; i < count; i += LANES) {
      sum += input[start + i];
    }
    mean = lane_sum(sum, thread) / f32(params.dim);
  }
  var squares = 0.0;
  for (var i = lane; i < count; i += LANES) {
    let difference = input[start + i] - mean;
    squares += difference * difference;
  }
  return Moments(mean, inverseSqrt(lane_sum(squares, thread) / f32(params.dim) + params.eps));
}

fn normalised(start: u32, i: u32, m: Moments) -> f32 {
  let value = input[start + i];
  if NORM == 0u {
    return value;
  }
  var result = (value - m.mean) * m.scale * (params.weight_offset + weight[i]);
  if HAS_BIAS {
    result += bias[i];
  }
  return result;
}

// Element i after the rotation. Its partner is normalised a second time: staging the vectors in workgroup memory instead was slower.
fn rotated(start: u32, token: u32, i: u32, m: Moments) -> f32 {
  let u = normalised(start, i, m);
  let block = i / (2u * HALF);
  if block >= BLOCKS {
    return u;
  }
  var row = token;
  if TABLE_AT_CURSOR {
    row += cursor[1];
  }
  let angle = table[(row * BLOCKS + block) * HALF + i % HALF];
  if i % (2u * HALF) < HALF {
    return u * angle.x - normalised(start, i + HALF, m) * angle.y;
  }
  return u * angle.x + normalised(start, i - HALF, m) * angle.y;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let vector = line_index(workgroup, counts) * GROUPS + thread / LANES;
  let token = vector / params.heads;
  let head = vector % params.heads;
  let lane = thread % LANES;
  let in_start = params.in_offset + token * params.in_token_stride + head * params.in_head_stride;
  var out_start = params.out_offset + token * params.out_token_stride + head * params.out_head_stride;
  if OUT_AT_CURSOR {
    out_start += cursor[0] * params.out_token_stride;
  }
  // A group beyond the last head has no elements but takes part in the barriers.
  let count = select(0u, params.dim, token < params.tokens);

  var m: Moments;
  if NORM != 0u {
    m = moments(in_start, count, thread);
  }

  if OUT_F16 {
    for (var i = 2u * lane; i < count; i += 2u * LANES) {
      target_words[(out_start + i) / 2u] = narrow_pair(rotated(in_start, token, i, m), rotated(in_start, token, i + 1u, m));
    }
  } else {
    for (var i = lane; i < count; i += LANES) {
      target_words[out_start + i] = bitcast<u32>(rotated(in_start, token, i, m));
    }
  }
}

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
// This form takes any offsets and widths, an element at a time; quads.wgsl is for those that are multiples of 4. Operands: params.wgsl.
// Sources: Su et al., RoFormer, 2021; the half-split pairing is GPT-NeoX's; Henry et al., Query-Key Normalization, 2020.
#include "head_norm_rope/params.wgsl"

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> target_words: array<u32>;

fn value_at(i: u32) -> f32 {
  return element(input[word_of(i, IN_DTYPE)], i, IN_DTYPE);
}

fn moments(vector: Vector, thread: u32) -> Moments {
  let lane = lane_of(thread);
  var mean = 0.0;
  if NORM == 2u {
    var sum = 0.0;
    for (var i = lane; i < vector.count; i += LANES) {
      sum += value_at(vector.source + i);
    }
    mean = lane_sum(sum, thread) / f32(params.dim);
  }
  var squares = 0.0;
  for (var i = lane; i < vector.count; i += LANES) {
    let difference = value_at(vector.source + i) - mean;
    squares += difference * difference;
  }
  return Moments(mean, inverseSqrt(lane_sum(squares, thread) / f32(params.dim) + params.eps));
}

fn normalised(vector: Vector, i: u32, m: Moments) -> f32 {
  let value = value_at(vector.source + i);
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
fn rotated(vector: Vector, i: u32, m: Moments) -> f32 {
  let u = normalised(vector, i, m);
  let block = i / (2u * HALF);
  if block >= BLOCKS {
    return u;
  }
  let angle = table[(vector.table_row * BLOCKS + block) * HALF + i % HALF];
  if i % (2u * HALF) < HALF {
    return u * angle.x - normalised(vector, i + HALF, m) * angle.y;
  }
  return u * angle.x + normalised(vector, i - HALF, m) * angle.y;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let vector = vector_of(line_index(workgroup, counts) * GROUPS + group_of(thread));
  let lane = lane_of(thread);
  var m: Moments;
  if NORM != 0u {
    m = moments(vector, thread);
  }
  if OUT_F16 {
    for (var i = 2u * lane; i < vector.count; i += 2u * LANES) {
      target_words[(vector.destination + i) / 2u] = narrow_pair(rotated(vector, i, m), rotated(vector, i + 1u, m));
    }
  } else {
    for (var i = lane; i < vector.count; i += LANES) {
      target_words[vector.destination + i] = bitcast<u32>(rotated(vector, i, m));
    }
  }
}

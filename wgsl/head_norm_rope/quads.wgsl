// head_norm_rope.wgsl four elements at a time, for offsets, strides, dim and HALF that are multiples of 4. Operands: params.wgsl.
// A lane reads its PIECES quads of a vector once and keeps them; the quads that they are rotated with are in the cache by then. Lanes exchange their sum and
// the squares of their differences from their own mean, which together give the vector's moments with one barrier.
// Source of that: Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
#include "head_norm_rope/params.wgsl"

const PIECES: u32 = 1u;

@group(0) @binding(0) var<storage, read> input: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> target_words: array<vec2<u32>>;

var<workgroup> partials: array<vec2<f32>, THREADS>;

fn elements_of(lane: u32) -> f32 {
  return f32(4u * ((params.dim / 4u + LANES - 1u - lane) / LANES));
}

// The moments of a vector from its lanes' (sum, squares of differences from the lane's mean); without a mean, squares of the elements.
fn moments_of(own: vec2<f32>, thread: u32) -> Moments {
  partials[thread] = own;
  workgroupBarrier();
  let first = thread / LANES * LANES;
  var mean = 0.0;
  if NORM == 2u {
    for (var lane = 0u; lane < LANES; lane++) {
      mean += partials[first + lane].x / f32(params.dim);
    }
  }
  var squares = 0.0;
  for (var lane = 0u; lane < LANES; lane++) {
    let partial = partials[first + lane];
    squares += partial.y;
    if NORM == 2u {
      let count = elements_of(lane);
      let difference = partial.x / max(count, 1.0) - mean;
      squares += count * difference * difference;
    }
  }
  return Moments(mean, inverseSqrt(squares / f32(params.dim) + params.eps));
}

fn quad_at(i: u32) -> vec4<f32> {
  if IN_DTYPE == DTYPE_F32 {
    return bitcast<vec4<f32>>(vec4<u32>(input[i / 2u], input[i / 2u + 1u]));
  }
  return widen_quad(input[i / 4u], IN_DTYPE);
}

// The quad whose first element is i, after the norm.
fn normalised(values: vec4<f32>, i: u32, m: Moments) -> vec4<f32> {
  if NORM == 0u {
    return values;
  }
  var result = (values - m.mean) * m.scale * (params.weight_offset + weight[i / 4u]);
  if HAS_BIAS {
    result += bias[i / 4u];
  }
  return result;
}

fn rotated(vector: Vector, values: vec4<f32>, i: u32, m: Moments) -> vec4<f32> {
  let u = normalised(values, i, m);
  let block = i / (2u * HALF);
  if block >= BLOCKS {
    return u;
  }
  let is_first = i % (2u * HALF) < HALF;
  let partner = select(i - HALF, i + HALF, is_first);
  let at = ((vector.table_row * BLOCKS + block) * HALF + i % HALF) / 2u;
  let angles = array<vec4<f32>, 2>(table[at], table[at + 1u]);
  let cosines = vec4<f32>(angles[0].xz, angles[1].xz);
  let sines = vec4<f32>(angles[0].yw, angles[1].yw);
  return u * cosines + select(sines, -sines, is_first) * normalised(quad_at(vector.source + partner), partner, m);
}

fn store(at: u32, values: vec4<f32>) {
  if OUT_F16 {
    target_words[at / 4u] = vec2<u32>(narrow_pair(values.x, values.y), narrow_pair(values.z, values.w));
  } else {
    target_words[at / 2u] = bitcast<vec2<u32>>(values.xy);
    target_words[at / 2u + 1u] = bitcast<vec2<u32>>(values.zw);
  }
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let vector = vector_of(line_index(workgroup, counts) * GROUPS + thread / LANES);
  var sum = 0.0;
#repeat p PIECES
  let i_$p = 4u * (thread % LANES + $pu * LANES);
  let inside_$p = i_$p < vector.count;
  let values_$p = select(vec4<f32>(), quad_at(select(0u, vector.source + i_$p, inside_$p)), inside_$p);
  sum += dot(values_$p, vec4<f32>(1.0));
#end
  var m: Moments;
  if NORM != 0u {
    var lane_mean = 0.0;
    if NORM == 2u {
      lane_mean = sum / max(elements_of(thread % LANES), 1.0);
    }
    var squares = 0.0;
#repeat p PIECES
    let difference_$p = select(vec4<f32>(), values_$p - lane_mean, inside_$p);
    squares += dot(difference_$p, difference_$p);
#end
    m = moments_of(vec2<f32>(sum, squares), thread);
  }
#repeat p PIECES
  if inside_$p {
    store(vector.destination + i_$p, rotated(vector, values_$p, i_$p, m));
  }
#end
}

// head_norm_rope.wgsl four elements at a time, for offsets and strides that are multiples of 4, dim of 8 and HALF of 4. Operands: params.wgsl.
// Lanes of a vector are neighbours. A lane reads PAIRS pairs of quads of a vector once and keeps them, the two of a pair being those that turn into each other (beyond the blocks, neighbours),
// so that neither is read again and angles serve both. Lanes exchange their sum and the squares of their differences from their own mean, which together give
// the vector's moments with one barrier.
// Source of that: Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
#include "head_norm_rope/params.wgsl"

const PAIRS: u32 = 1u; // dim / 8 / LANES, rounded up
const HALF_QUADS: u32 = max(1u, HALF / 4u);
const TURNING: u32 = BLOCKS * HALF_QUADS; // pairs of a vector that turn

@group(0) @binding(0) var<storage, read> input: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> target_words: array<vec2<u32>>;

var<workgroup> partials: array<vec2<f32>, THREADS>;

fn elements_of(lane: u32) -> f32 {
  return f32(8u * ((params.dim / 8u + LANES - 1u - lane) / LANES));
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

// Elements of a vector at which a pair's quads begin.
fn places_of(pair: u32) -> vec2<u32> {
  if pair < TURNING {
    let block = pair / HALF_QUADS;
    let first = 2u * HALF * block + 4u * (pair % HALF_QUADS);
    return vec2<u32>(first, first + HALF);
  }
  let first = 2u * HALF * BLOCKS + 8u * (pair - TURNING);
  return vec2<u32>(first, first + 4u);
}

struct Pair {
  first: vec4<f32>,
  second: vec4<f32>,
}

fn turned(values: Pair, pair: u32, table_row: u32) -> Pair {
  if pair >= TURNING {
    return values;
  }
  let at = (table_row * BLOCKS * HALF + 4u * pair) / 2u;
  let low = table[at];
  let high = table[at + 1u];
  let cosines = vec4<f32>(low.xz, high.xz);
  let sines = vec4<f32>(low.yw, high.yw);
  return Pair(values.first * cosines - values.second * sines, values.second * cosines + values.first * sines);
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
#repeat p PAIRS
  let pair_$p = thread % LANES + $pu * LANES;
  let at_$p = places_of(pair_$p);
  let inside_$p = 8u * pair_$p < vector.count;
  let source_$p = select(vec2<u32>(), vector.source + at_$p, inside_$p);
  let first_$p = select(vec4<f32>(), quad_at(source_$p.x), inside_$p);
  let second_$p = select(vec4<f32>(), quad_at(source_$p.y), inside_$p);
  sum += dot(first_$p + second_$p, vec4<f32>(1.0));
#end
  var m: Moments;
  if NORM != 0u {
    var lane_mean = 0.0;
    if NORM == 2u {
      lane_mean = sum / max(elements_of(thread % LANES), 1.0);
    }
    var squares = 0.0;
#repeat p PAIRS
    let differences_$p = Pair(first_$p - lane_mean, second_$p - lane_mean);
    let found_$p = dot(differences_$p.first, differences_$p.first) + dot(differences_$p.second, differences_$p.second);
    squares += select(0.0, found_$p, inside_$p);
#end
    m = moments_of(vec2<f32>(sum, squares), thread);
  }
#repeat p PAIRS
  if inside_$p {
    let normed = Pair(normalised(first_$p, at_$p.x, m), normalised(second_$p, at_$p.y, m));
    let result = turned(normed, pair_$p, vector.table_row);
    store(vector.destination + at_$p.x, result.first);
    store(vector.destination + at_$p.y, result.second);
  }
#end
}

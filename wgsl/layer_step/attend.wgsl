// Attention of one token over a part of those before it, or over itself, for the GROUP query heads of a key head, by a workgroup: part of attention_layer.wgsl.
// For BLOCK keys at a time: scores, KEY_LANES threads a key; maximum and exponentials (Milakov and Gimelshein 2018); and values, a thread two dims of every
// SUBSETS-th one. Warps that have nothing to do in a stage leave it out: at a few hundred tokens the instructions of all of them would take longer than memory.
// x's first half holds queries, its second scores, four heads a vec4; in the end both hold what threads have summed up. `sums` holds the token's own key and value.
#include "layer_step/attend_itself.wgsl"

const DIM: u32 = 256u; // a power of two, from 32 to 512
const GROUP: u32 = 4u;
const QUADS: u32 = 1u; // GROUP / 4, rounded up
const HALF: u32 = 32u;
const KV_DTYPE: u32 = 1u;
const BLOCK: u32 = 1024u; // a multiple of SUBGROUPS * SUBGROUP_KEYS and of VALUES * SUBSETS
const LINES: u32 = 4u; // of 128 bytes of a head's key or value, or less of it
const LINE_QUADS: u32 = 8u; // of 16 bytes
const TOUCHED: u32 = 64u; // tokens of a part that are asked for long before
const VALUES: u32 = 8u; // that a thread has on their way
const PIECES: u32 = DIM / 8u;
const KEY_LANES: u32 = 32u; // that share a key
const SUBGROUP_KEYS: u32 = LANES / KEY_LANES;
const LANE_PIECES: u32 = PIECES / KEY_LANES;
const PAIRS: u32 = DIM / 2u;
const SUBSETS: u32 = THREADS / PAIRS;
const HALF_THREADS: u32 = THREADS / 2u;
const LANE_DIMS: u32 = DIM / LANES; // of a head that a lane brings
const LEAST: f32 = -3.0e38;

@group(0) @binding(9) var<storage, read> q_norm: array<f32>;
@group(0) @binding(10) var<storage, read> k_norm: array<f32>;
@group(0) @binding(11) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(12) var<storage, read> cursor: array<u32>;
@group(0) @binding(13) var<storage, read_write> k: array<vec4<u32>>;
@group(0) @binding(14) var<storage, read_write> v: array<u32>;

// By subgroup: highest scores, and sums of weights, which are their exponentials. And both of all blocks so far.
var<workgroup> peaks: array<vec4<f32>, QUADS * SUBGROUPS>;
var<workgroup> masses: array<vec4<f32>, QUADS * SUBGROUPS>;
var<workgroup> peak_so_far: array<vec4<f32>, QUADS>;
var<workgroup> mass_so_far: array<vec4<f32>, QUADS>;

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

// What a thread has on its way: eight dims of a key as they lie in memory (of f16 in the first four words), two dims of a value; and sums of heads 4 * q and the
// next, two dims each, and of the two heads after them.
#repeat p LANE_PIECES
var<private> key_$p: vec4<u32>;
var<private> more_$p: vec4<u32>;
#end
#repeat b VALUES
var<private> value_$b: vec2<u32>;
#end
#repeat q QUADS
var<private> low_$q: vec4<f32>;
var<private> high_$q: vec4<f32>;
#end

fn widen_key(key: vec4<u32>, more: vec4<u32>) -> Eight {
  if KV_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(key), bitcast<vec4<f32>>(more));
  }
  return Eight(widen_quad(key.xy, KV_DTYPE), widen_quad(key.zw, KV_DTYPE));
}

// Two dims of a value as they lie in memory; f16 fill the first half.
fn fetch_value(token: u32, g: u32, pair: u32) -> vec2<u32> {
  let at = (token * KV_HEADS + g) * PAIRS + pair;
  if KV_DTYPE == DTYPE_F32 {
    return vec2<u32>(v[2u * at], v[2u * at + 1u]);
  }
  return vec2<u32>(v[at], 0u);
}

fn widen_value(value: vec2<u32>) -> vec2<f32> {
  if KV_DTYPE == DTYPE_F32 {
    return bitcast<vec2<f32>>(value);
  }
  return widen_pair(value.x, KV_DTYPE);
}

// Where quad i of query h lies in x: even quads first, so that lanes that read every other one fall on different banks.
fn place_of(h: u32, i: u32) -> u32 {
  return h * 2u * PIECES + i % 2u * PIECES + i / 2u;
}

// Brings queries to x, and for the token itself key and value to `sums`: a subgroup each, through norms; then a thread turns two dims of a head by `angle`.
fn prepare(g: u32, is_newest: bool, angle: vec2<f32>, thread: u32) {
  let lane = thread % LANES;
  let h = thread / LANES;
  if h < select(GROUP, GROUP + 2u, is_newest) {
#repeat e LANE_DIMS
    let weight_$e = params.weight_offset + select(q_norm[lane + $eu * LANES], k_norm[lane + $eu * LANES], h == GROUP);
    var dim_$e = 0u;
#end
    for (var i = 0u; i < params.never; i++) {
#repeat e LANE_DIMS
      out[i] += weight_$e;
#end
    }
    let first = select(KEYS_COLUMN + ((h - GROUP) * KV_HEADS + g) * DIM, 2u * (g * GROUP + h) * DIM, h < GROUP) + lane;
    for (var look = 0u; look < params.patience; look++) {
      var missing = false;
#repeat e LANE_DIMS
      dim_$e = atomicLoad(&words[first + $eu * LANES]);
      missing = missing || dim_$e == 0u;
#end
      if !missing {
        break;
      }
    }
    var square = 0.0;
#repeat e LANE_DIMS
    let value_$e = value_of(dim_$e);
    square += value_$e * value_$e;
#end
    let factor = inverseSqrt(subgroupAdd(square) / f32(DIM) + params.head_eps) * select(1.0, 1.0 / sqrt(f32(DIM)), h < GROUP);
#repeat e LANE_DIMS
    {
      let d = lane + $eu * LANES;
      if h < GROUP {
        x[place_of(h, d / 4u)][d % 4u] = value_$e * factor * weight_$e;
      } else {
        sums[(h - GROUP) * DIM + d] = value_$e * select(1.0, factor * weight_$e, h == GROUP);
      }
    }
#end
  }
  workgroupBarrier();
  if thread < HALF * GROUP {
    let turning = thread / HALF;
    let d = thread % HALF;
    let first = x[place_of(turning, d / 4u)][d % 4u];
    let second = x[place_of(turning, (d + HALF) / 4u)][(d + HALF) % 4u];
    x[place_of(turning, d / 4u)][d % 4u] = first * angle.x - second * angle.y;
    x[place_of(turning, (d + HALF) / 4u)][(d + HALF) % 4u] = second * angle.x + first * angle.y;
  } else if is_newest && thread < HALF * (GROUP + 1u) {
    let d = thread - HALF * GROUP;
    let first = sums[d];
    let second = sums[d + HALF];
    sums[d] = first * angle.x - second * angle.y;
    sums[d + HALF] = second * angle.x + first * angle.y;
  }
  workgroupBarrier();
}

// The sum over KEY_LANES threads of component `lane / (KEY_LANES / 4)`: they give half of what they hold for half of what others do, twice.
fn quad_sum(value: vec4<f32>, lane: u32) -> f32 {
  let upper = lane >= KEY_LANES / 2u;
  let pair = select(value.xy, value.zw, upper) + subgroupShuffleXor(select(value.zw, value.xy, upper), KEY_LANES / 2u);
  let odd = lane / (KEY_LANES / 4u) % 2u == 1u;
  var sum = select(pair.x, pair.y, odd) + subgroupShuffleXor(select(pair.y, pair.x, odd), KEY_LANES / 4u);
  for (var mask = KEY_LANES / 8u; mask > 0u; mask /= 2u) {
    sum += subgroupShuffleXor(sum, mask);
  }
  return sum;
}

// Asks for a token's key, if it is not beyond the end.
fn ask_for_key(token: u32, end: u32, g: u32, thread: u32) {
  if token < end {
    let at = (token * KV_HEADS + g) * PIECES + thread % KEY_LANES;
#repeat p LANE_PIECES
    if KV_DTYPE == DTYPE_F32 {
      key_$p = k[2u * (at + $pu * KEY_LANES)];
      more_$p = k[2u * (at + $pu * KEY_LANES) + 1u];
    } else {
      key_$p = k[at + $pu * KEY_LANES];
    }
#end
  }
}

// Asks for values of every SUBSETS-th token from `first` or a little later on. Those beyond the end are the last one's: with a branch for each, loads would wait
// for one another.
fn ask_for_values(first: u32, end: u32, g: u32, thread: u32) {
  let token = first + thread / PAIRS;
  if token < end {
#repeat b VALUES
    value_$b = fetch_value(min(token + $bu * SUBSETS, end - 1u), g, thread % PAIRS);
#end
  }
}

// Scores of `count` keys from `block` on go to x's second half, and what each subgroup found highest to `peaks`.
fn score(block: u32, count: u32, end: u32, g: u32, thread: u32) {
  if thread / LANES * SUBGROUP_KEYS >= count {
    return;
  }
  let lane = thread % LANES;
  let key_lane = thread % KEY_LANES;
#repeat q QUADS
  var highest_$q = LEAST; // of the head in whose sums this thread ends up
#end
  for (var first = thread / LANES * SUBGROUP_KEYS; first < count; first += SUBGROUPS * SUBGROUP_KEYS) {
    let slot = first + lane / KEY_LANES;
#repeat p LANE_PIECES
    let now_$p = key_$p;
    let more_now_$p = more_$p;
#end
    ask_for_key(block + slot + SUBGROUPS * SUBGROUP_KEYS, end, g, thread);
#repeat q QUADS
    var dots_$q = vec4<f32>();
#end
#repeat p LANE_PIECES
    {
      let piece = key_lane + $pu * KEY_LANES;
      let key = widen_key(now_$p, more_now_$p);
#repeat q QUADS
#repeat h 4
      dots_$q[$h] += dot(key.low, x[min($[4 * $q + $h]u, GROUP - 1u) * 2u * PIECES + piece]);
      dots_$q[$h] += dot(key.high, x[min($[4 * $q + $h]u, GROUP - 1u) * 2u * PIECES + PIECES + piece]);
#end
#end
    }
#end
#repeat q QUADS
    let score_$q = quad_sum(dots_$q, key_lane);
    if slot < count {
      highest_$q = max(highest_$q, score_$q);
      if key_lane % (KEY_LANES / 4u) == 0u {
        x[MOST_WIDTH + slot * QUADS + $qu][key_lane / (KEY_LANES / 4u)] = score_$q;
      }
    }
#end
  }
#repeat q QUADS
  for (var mask = KEY_LANES; mask < LANES; mask *= 2u) {
    highest_$q = max(highest_$q, subgroupShuffleXor(highest_$q, mask));
  }
  if lane < KEY_LANES && lane % (KEY_LANES / 4u) == 0u {
    peaks[thread / LANES * QUADS + $qu][lane / (KEY_LANES / 4u)] = highest_$q;
  }
#end
}

// Scores become weights, relative to the highest so far, and what was summed up before is brought in line.
fn weigh(count: u32, is_first: bool, thread: u32) {
  let scored = min(SUBGROUPS, (count + SUBGROUP_KEYS - 1u) / SUBGROUP_KEYS); // subgroups with a key
  let weighed = min(SUBGROUPS, (count + LANES - 1u) / LANES);
  let weighs = thread / LANES < weighed;
#repeat q QUADS
  var highest_$q = peak_so_far[$q];
  if weighs || !is_first {
    for (var s = 0u; s < scored; s++) {
      highest_$q = max(highest_$q, peaks[s * QUADS + $qu]);
    }
    let shrink = exp(peak_so_far[$q] - highest_$q);
    low_$q *= shrink.xxyy;
    high_$q *= shrink.zzww;
  }
  if weighs {
    var mass = vec4<f32>();
    for (var slot = thread; slot < count; slot += THREADS) {
      let weight = exp(x[MOST_WIDTH + slot * QUADS + $qu] - highest_$q);
      x[MOST_WIDTH + slot * QUADS + $qu] = weight;
      mass += weight;
    }
    mass = subgroupAdd(mass);
    if thread % LANES == 0u {
      masses[thread / LANES * QUADS + $qu] = mass;
    }
  }
#end
  workgroupBarrier();
#repeat q QUADS
  if thread == $qu {
    var mass = mass_so_far[$q] * exp(peak_so_far[$q] - highest_$q);
    for (var s = 0u; s < weighed; s++) {
      mass += masses[s * QUADS + $qu];
    }
    mass_so_far[$q] = mass;
    peak_so_far[$q] = highest_$q;
  }
#end
}

// Adds up weighted values of `count` tokens from `block` on.
fn add_values(block: u32, count: u32, end: u32, g: u32, thread: u32) {
  let subset = thread / PAIRS;
  for (var first = 0u; first + subset < count; first += VALUES * SUBSETS) {
#repeat b VALUES
    let now_$b = value_$b;
#end
    ask_for_values(block + first + VALUES * SUBSETS, end, g, thread);
#repeat b VALUES
    if first + subset + $bu * SUBSETS < count {
      let value = widen_value(now_$b);
#repeat q QUADS
      let weight_$q = x[MOST_WIDTH + (first + subset + $bu * SUBSETS) * QUADS + $qu];
      low_$q += weight_$q.xxyy * value.xyxy;
      high_$q += weight_$q.zzww * value.xyxy;
#end
    }
#end
  }
}

// The first token of a part, and the one after its last. The last part is the token itself, the others share those before it.
fn tokens_of(part: u32, seen: u32) -> vec2<u32> {
  let share = (seen + params.parts - 2u) / (params.parts - 1u);
  let start = min(part * share, seen);
  return vec2<u32>(start, min(start + share, seen));
}

// Asks for a part's first keys and values long before they are needed, so that they are near when they are: it takes memory longer than products' operands, which
// lie in a row.
fn touch(g: u32, part: u32, seen: u32, thread: u32) {
  let tokens = tokens_of(part, seen);
  let token = tokens.x + thread / LINES;
  if token < tokens.y && thread < TOUCHED * LINES {
    let key = k[((token * KV_HEADS + g) * LINES + thread % LINES) * LINE_QUADS];
    let value = fetch_value(token, g, thread % LINES * (PAIRS / LINES));
    for (var i = 0u; i < params.never; i++) {
      out[i] += f32(key.x ^ value.x);
    }
  }
}

// Part `part` of the tokens before, for key head g.
fn attend_before(g: u32, part: u32, tokens: vec2<u32>, thread: u32) {
  let start = tokens.x;
  let end = tokens.y;
#repeat q QUADS
  low_$q = vec4<f32>();
  high_$q = vec4<f32>();
#end
  for (var block = start; block < end; block += BLOCK) {
    let count = min(BLOCK, end - block);
    score(block, count, end, g, thread);
    ask_for_values(block, end, g, thread);
    workgroupBarrier();
    weigh(count, block == start, thread);
    add_values(block, count, end, g, thread);
    workgroupBarrier();
  }

  // Half of the threads hand what they have to the other half, which hands it to all.
#repeat q QUADS
  if thread >= HALF_THREADS {
    x[$qu * HALF_THREADS + thread - HALF_THREADS] = low_$q;
    x[MOST_WIDTH + $qu * HALF_THREADS + thread - HALF_THREADS] = high_$q;
  }
#end
  workgroupBarrier();
#repeat q QUADS
  if thread < HALF_THREADS {
    x[$qu * HALF_THREADS + thread] += low_$q;
    x[MOST_WIDTH + $qu * HALF_THREADS + thread] += high_$q;
  }
#end
  workgroupBarrier();
  let words_of_part = PART_WORDS + part * (MIXED + HEADS);
  for (var i = thread; i < GROUP * DIM; i += THREADS) {
    let h = i / DIM;
    let component = h % 2u * 2u + i % 2u;
    let mass = mass_so_far[h / 4u][h % 4u];
    var sum = 0.0;
    for (var s = 0u; s < SUBSETS / 2u; s++) {
      sum += x[h % 4u / 2u * MOST_WIDTH + h / 4u * HALF_THREADS + s * PAIRS + i % DIM / 2u][component];
    }
    // A part without tokens weighs nothing.
    send(words_of_part + g * GROUP * DIM + i, select(sum / mass, 0.0, mass == 0.0));
    if i % DIM == 0u {
      send(words_of_part + MIXED + g * GROUP + h, select(peak_so_far[h / 4u][h % 4u] + log(mass), LEAST, mass == 0.0));
    }
  }
}

// What part `part` makes of key head g's query heads, sent to who joins the parts.
fn attend(g: u32, part: u32, seen: u32, angle: vec2<f32>, thread: u32) {
  let tokens = tokens_of(part, seen);
  let is_newest = part + 1u == params.parts;
  if !is_newest {
    // The first keys are on their way while queries are waited for.
    ask_for_key(tokens.x + thread / KEY_LANES, tokens.y, g, thread);
  }
  for (var i = 0u; i < params.never; i++) {
#repeat p LANE_PIECES
    out[i] += f32(key_$p.x ^ more_$p.x);
#end
  }
  if thread < QUADS {
    peak_so_far[thread] = vec4<f32>(LEAST);
    mass_so_far[thread] = vec4<f32>();
  }
  prepare(g, is_newest, angle, thread);
  if is_newest {
    attend_itself(g, seen, thread);
  } else {
    attend_before(g, part, tokens, thread);
  }
  workgroupBarrier();
}

// Attention of one token over a part of the tokens before it, for the GROUP query heads of a key head, by a workgroup: part of attention_layer.wgsl.
// For BLOCK keys at a time: scores, KEY_LANES threads a key; maximum and exponentials (Milakov and Gimelshein 2018); and values, a thread two dims of every
// SUBSETS-th one. The last part also takes the token itself, whose key and value lie in `sums` meanwhile and reach the cache in the end.
// x_high holds queries before their norms and x_low after; then x_high scores, four heads a vec4; then both what threads have summed up.
const DIM: u32 = 256u; // a power of two, from 32 to 512
const GROUP: u32 = 4u;
const QUADS: u32 = 1u; // GROUP / 4, rounded up
const HALF: u32 = 32u;
const KV_DTYPE: u32 = 1u;
const MOST_SPLITS: u32 = 64u;
const BLOCK: u32 = 1024u; // a multiple of TEAMS and of VALUES * SUBSETS
const VALUES: u32 = 8u; // that a thread has on their way
const PIECES: u32 = DIM / 8u;
const KEY_LANES: u32 = 8u; // as many pieces as DIM has, or 8
const TEAMS: u32 = THREADS / KEY_LANES;
const LANE_PIECES: u32 = PIECES / KEY_LANES;
const PAIRS: u32 = DIM / 2u;
const SUBSETS: u32 = THREADS / PAIRS;
const HALF_THREADS: u32 = THREADS / 2u;
const HEAD_SUBGROUPS: u32 = DIM / LANES; // that bring a head
const BROUGHT_ROUNDS: u32 = 2u; // in which the threads bring queries, key and value
const LEAST: f32 = -3.0e38;

@group(0) @binding(9) var<storage, read> q_norm: array<f32>;
@group(0) @binding(10) var<storage, read> k_norm: array<f32>;
@group(0) @binding(11) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(12) var<storage, read> cursor: array<u32>;
@group(0) @binding(13) var<storage, read_write> k: array<vec4<u32>>;
@group(0) @binding(14) var<storage, read_write> v: array<u32>;

// By subgroup: squares of what it brought; maxima of scores, and sums of exponentials.
var<workgroup> head_squares: array<f32, (GROUP + 2u) * HEAD_SUBGROUPS>;
var<workgroup> peaks: array<vec4<f32>, QUADS * SUBGROUPS>;
var<workgroup> masses: array<vec4<f32>, QUADS * SUBGROUPS>;

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

// Eight dims of a key as they lie in memory; f16 fill the first half.
struct Stored {
  first: vec4<u32>,
  second: vec4<u32>,
}

fn fetch_key(token: u32, g: u32, piece: u32) -> Stored {
  let at = ((token * KV_HEADS + g) * PIECES + piece) * select(1u, 2u, KV_DTYPE == DTYPE_F32);
  if KV_DTYPE == DTYPE_F32 {
    return Stored(k[at], k[at + 1u]);
  }
  return Stored(k[at], vec4<u32>());
}

fn widen_key(key: Stored) -> Eight {
  if KV_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(key.first), bitcast<vec4<f32>>(key.second));
  }
  return Eight(widen_quad(key.first.xy, KV_DTYPE), widen_quad(key.first.zw, KV_DTYPE));
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

// What reading x back from the cache would make of it.
fn as_stored(x: f32) -> f32 {
  if KV_DTYPE == DTYPE_F32 {
    return x;
  }
  return widen_pair(narrow_pair(x, 0.0), KV_DTYPE).x;
}

// Where quad i of query h lies in x_low: even quads first, so that lanes that read every other one fall on different banks.
fn place_of(h: u32, i: u32) -> u32 {
  return h * 2u * PIECES + i % 2u * PIECES + i / 2u;
}

// Brings queries to x_low, and for the last part key and value to `sums`: dim `thread % DIM` of each, with its norms' weights and its angle.
fn prepare(g: u32, is_last: bool, norms: vec2<f32>, angle: vec2<f32>, thread: u32) {
  let count = DIM * select(GROUP, GROUP + 2u, is_last);
  let d = thread % DIM;
#repeat j BROUGHT_ROUNDS
  if thread + $ju * THREADS < count {
    let i = thread + $ju * THREADS;
    let h = i / DIM;
    var value = await_value(select(KEYS_COLUMN + ((h - GROUP) * KV_HEADS + g) * DIM, 2u * (g * GROUP + h) * DIM, h < GROUP) + d);
    let square = subgroupAdd(value * value);
    if thread % LANES == 0u {
      head_squares[i / LANES] = square;
    }
    if h <= GROUP {
      value *= select(norms.y, norms.x, h < GROUP);
    }
    x_high[i / 4u][i % 4u] = value;
  }
#end
  workgroupBarrier();
#repeat j BROUGHT_ROUNDS
  if thread + $ju * THREADS < count {
    let i = thread + $ju * THREADS;
    let h = i / DIM;
    var value = x_high[i / 4u][i % 4u];
    if h <= GROUP {
      var square = 0.0;
      for (var s = 0u; s < HEAD_SUBGROUPS; s++) {
        square += head_squares[h * HEAD_SUBGROUPS + s];
      }
      if d < HALF {
        value = value * angle.x - x_high[(i + HALF) / 4u][(i + HALF) % 4u] * angle.y;
      } else if d < 2u * HALF {
        value = value * angle.x + x_high[(i - HALF) / 4u][(i - HALF) % 4u] * angle.y;
      }
      value *= inverseSqrt(square / f32(DIM) + params.head_eps);
    }
    if h < GROUP {
      x_low[place_of(h, d / 4u)][d % 4u] = value / sqrt(f32(DIM));
    } else {
      sums[i - GROUP * DIM] = as_stored(value);
    }
  }
#end
  workgroupBarrier();
}

fn new_key_quad(i: u32) -> vec4<f32> {
  return vec4<f32>(sums[4u * i], sums[4u * i + 1u], sums[4u * i + 2u], sums[4u * i + 3u]);
}

fn new_value(pair: u32) -> vec2<f32> {
  return vec2<f32>(sums[DIM + 2u * pair], sums[DIM + 2u * pair + 1u]);
}

// Stores the new key and value as token `token` of the cache.
fn store_newest(token: u32, g: u32, thread: u32) {
  let row = token * KV_HEADS + g;
  if thread < PIECES {
    let low = new_key_quad(2u * thread);
    let high = new_key_quad(2u * thread + 1u);
    if KV_DTYPE == DTYPE_F32 {
      k[2u * (row * PIECES + thread)] = bitcast<vec4<u32>>(low);
      k[2u * (row * PIECES + thread) + 1u] = bitcast<vec4<u32>>(high);
    } else {
      k[row * PIECES + thread] = vec4<u32>(narrow_pair(low.x, low.y), narrow_pair(low.z, low.w), narrow_pair(high.x, high.y), narrow_pair(high.z, high.w));
    }
  }
  if thread < PAIRS {
    let value = new_value(thread);
    if KV_DTYPE == DTYPE_F32 {
      v[2u * (row * PAIRS + thread)] = bitcast<u32>(value.x);
      v[2u * (row * PAIRS + thread) + 1u] = bitcast<u32>(value.y);
    } else {
      v[row * PAIRS + thread] = narrow_pair(value.x, value.y);
    }
  }
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

// Part `split` for key head g.
fn attend(g: u32, split: u32, thread: u32) {
  let lane = thread % LANES;
  let subgroup = thread / LANES;
  let key_lane = thread % KEY_LANES;
  let team = thread / KEY_LANES;
  let pair = thread % PAIRS;
  let subset = thread / PAIRS;
  var seen = params.seen;
  var row = 0u;
  if params.at_cursor != 0u {
    seen = cursor[0];
    row = cursor[1];
  }
  let share = (seen + params.splits - 1u) / params.splits;
  let start = min(split * share, seen);
  let end = min(start + share, seen);
  let is_last = split + 1u == params.splits;

  // The first keys and values are on their way while queries are waited for.
#repeat p LANE_PIECES
  var key_$p: Stored;
#end
  if start + team < end {
#repeat p LANE_PIECES
    key_$p = fetch_key(start + team, g, key_lane + $pu * KEY_LANES);
#end
  }
#repeat b VALUES
  var value_$b: vec2<u32>;
  if start + subset + $bu * SUBSETS < end {
    value_$b = fetch_value(start + subset + $bu * SUBSETS, g, pair);
  }
#end
  let norms = params.weight_offset + vec2<f32>(q_norm[thread % DIM], k_norm[thread % DIM]);
  let angle = table[row * HALF + thread % DIM % HALF];
  for (var i = 0u; i < params.never; i++) {
    out[i] += norms.x + norms.y + angle.x + angle.y;
#repeat p LANE_PIECES
    out[i] += f32(key_$p.first.x ^ key_$p.second.x);
#end
#repeat b VALUES
    out[i] += f32(value_$b.x ^ value_$b.y);
#end
  }
  prepare(g, is_last, norms, angle, thread);

#repeat q QUADS
  var low_$q = vec4<f32>(); // sums of heads 4 * $q and the next, two dims each
  var high_$q = vec4<f32>(); // and of the two after them
  var peak_$q = vec4<f32>(LEAST);
  var mass_$q = vec4<f32>();
#end
  for (var block = start; block < end || block == start; block += BLOCK) {
    let count = min(BLOCK, end - block);
    let has_newest = is_last && block + BLOCK >= end;
#repeat q QUADS
    var most_$q = LEAST; // of heads in whose sums this thread ends up
#end
    // All of a subgroup's teams go on while one has a key; in the round after the last one the newest key has its turn.
    for (var first = 0u; first < count + select(0u, 1u, has_newest); first += TEAMS) {
      let slot = first + team;
      let is_newest = has_newest && slot == count;
#repeat q QUADS
      var dots_$q = vec4<f32>();
#end
#repeat p LANE_PIECES
      {
        let piece = key_lane + $pu * KEY_LANES;
        var key = widen_key(key_$p);
        if is_newest {
          key = Eight(new_key_quad(2u * piece), new_key_quad(2u * piece + 1u));
        }
#repeat q QUADS
#repeat h 4
        dots_$q[$h] += dot(key.low, x_low[min($[4 * $q + $h]u, GROUP - 1u) * 2u * PIECES + piece]);
        dots_$q[$h] += dot(key.high, x_low[min($[4 * $q + $h]u, GROUP - 1u) * 2u * PIECES + PIECES + piece]);
#end
#end
      }
#end
      if block + slot + TEAMS < end {
#repeat p LANE_PIECES
        key_$p = fetch_key(block + slot + TEAMS, g, key_lane + $pu * KEY_LANES);
#end
      }
#repeat q QUADS
      let score_$q = quad_sum(dots_$q, key_lane);
      if slot < count || is_newest {
        most_$q = max(most_$q, score_$q);
        if key_lane % (KEY_LANES / 4u) == 0u {
          x_high[slot * QUADS + $qu][key_lane / (KEY_LANES / 4u)] = score_$q;
        }
      }
#end
    }
#repeat q QUADS
    for (var mask = KEY_LANES; mask < LANES; mask *= 2u) {
      most_$q = max(most_$q, subgroupShuffleXor(most_$q, mask));
    }
    if lane < KEY_LANES && lane % (KEY_LANES / 4u) == 0u {
      peaks[subgroup * QUADS + $qu][lane / (KEY_LANES / 4u)] = most_$q;
    }
#end
    workgroupBarrier();

    let slots = count + select(0u, 1u, has_newest);
#repeat q QUADS
    {
      var highest = vec4<f32>(LEAST);
      for (var s = lane; s < SUBGROUPS; s += LANES) {
        highest = max(highest, peaks[s * QUADS + $qu]);
      }
      highest = max(peak_$q, subgroupMax(highest));
      let shrink = exp(peak_$q - highest);
      peak_$q = highest;
      mass_$q *= shrink;
      low_$q *= shrink.xxyy;
      high_$q *= shrink.zzww;
      var mass = vec4<f32>();
      for (var slot = thread; slot < slots; slot += THREADS) {
        let weight = exp(x_high[slot * QUADS + $qu] - highest);
        x_high[slot * QUADS + $qu] = weight;
        mass += weight;
      }
      mass = subgroupAdd(mass);
      if lane == 0u {
        masses[subgroup * QUADS + $qu] = mass;
      }
    }
#end
    workgroupBarrier();

    for (var slot = subset; slot < count; slot += VALUES * SUBSETS) {
#repeat b VALUES
      if slot + $bu * SUBSETS < count {
        let value = widen_value(value_$b);
#repeat q QUADS
        let weight_$q = x_high[(slot + $bu * SUBSETS) * QUADS + $qu];
        low_$q += weight_$q.xxyy * value.xyxy;
        high_$q += weight_$q.zzww * value.xyxy;
#end
      }
#end
#repeat b VALUES
      if block + slot + ($bu + VALUES) * SUBSETS < end {
        value_$b = fetch_value(block + slot + ($bu + VALUES) * SUBSETS, g, pair);
      }
#end
    }
    if has_newest && subset + 1u == SUBSETS {
      let newest = new_value(pair);
#repeat q QUADS
      let weight_$q = x_high[count * QUADS + $qu];
      low_$q += weight_$q.xxyy * newest.xyxy;
      high_$q += weight_$q.zzww * newest.xyxy;
#end
    }
#repeat q QUADS
    {
      var mass = vec4<f32>();
      for (var s = lane; s < SUBGROUPS; s += LANES) {
        mass += masses[s * QUADS + $qu];
      }
      mass_$q += subgroupAdd(mass);
    }
#end
    workgroupBarrier();
  }

  // Half of the threads hand what they have to the other half, which hands it to all.
#repeat q QUADS
  if thread >= HALF_THREADS {
    x_low[$qu * HALF_THREADS + thread - HALF_THREADS] = low_$q;
    x_high[$qu * HALF_THREADS + thread - HALF_THREADS] = high_$q;
  }
#end
  workgroupBarrier();
#repeat q QUADS
  if thread < HALF_THREADS {
    x_low[$qu * HALF_THREADS + thread] += low_$q;
    x_high[$qu * HALF_THREADS + thread] += high_$q;
  }
#end
  workgroupBarrier();
  let part = PART_WORDS + split * (MIXED + HEADS);
  for (var i = thread; i < GROUP * DIM; i += THREADS) {
    let h = i / DIM;
    let component = h % 2u * 2u + i % 2u;
    var mass = 0.0;
    var peak = LEAST;
#repeat q QUADS
    if h / 4u == $qu {
      mass = mass_$q[h % 4u];
      peak = peak_$q[h % 4u];
    }
#end
    var sum = 0.0;
    for (var s = 0u; s < SUBSETS / 2u; s++) {
      let at = h / 4u * HALF_THREADS + s * PAIRS + i % DIM / 2u;
      if h % 4u < 2u {
        sum += x_low[at][component];
      } else {
        sum += x_high[at][component];
      }
    }
    // A part without tokens weighs nothing.
    send(part + g * GROUP * DIM + i, select(0.0, sum / mass, mass > 0.0));
    if i % DIM == 0u {
      send(part + MIXED + g * GROUP + h, select(LEAST, peak + log(mass), mass > 0.0));
    }
  }
  if is_last {
    store_newest(seen, g, thread);
  }
  workgroupBarrier();
}

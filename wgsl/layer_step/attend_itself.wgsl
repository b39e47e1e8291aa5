// The part of attention_layer.wgsl that is the token itself: what it attends to itself, and its key and value on their way to the cache. They lie in `sums`, key
// before value, where attend.wgsl's `prepare` has left them; queries in x.
// The new key and value, which the token itself sees before they are rounded for the cache.
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

// The token's own part for key head g: its value, weighed by its score. Its key and value reach the cache after others have what they wait for.
fn attend_itself(g: u32, seen: u32, thread: u32) {
  let lane = thread % LANES;
  let h = thread / LANES;
  let words_of_part = PART_WORDS + (params.parts - 1u) * (MIXED + HEADS);
  for (var i = thread; i < GROUP * DIM; i += THREADS) {
    send(words_of_part + g * GROUP * DIM + i, sums[DIM + i % DIM]);
  }
  if h < GROUP {
    var score = 0.0;
    for (var d = lane; d < DIM; d += LANES) {
      score += x[place_of(h, d / 4u)][d % 4u] * sums[d];
    }
    score = subgroupAdd(score);
    if lane == 0u {
      send(words_of_part + MIXED + g * GROUP + h, score);
    }
  }
  store_newest(seen, g, thread);
}

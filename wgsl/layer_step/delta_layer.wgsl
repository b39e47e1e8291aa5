// A whole decoder layer with a gated delta net, for one token, in one dispatch:
// layer.wgsl with this between p and a: of p's columns q | k | v | z | b | a the first three go through a step of the causal convolution and SiLU
// (causal_conv1d/sequence.wgsl), then all through the gated delta rule and its norm (gated_delta/step.wgsl).
// taps: f32 [CHANNELS, TAPS]; history: f32 [CHANNELS, TAPS - 1], oldest first, moved on. A_log, dt_bias: f32 [VALUE_HEADS].
// head_norm: f32 [DV]. state: f32 [VALUE_HEADS, DK, DV], updated in place. All arithmetic in f32.
// words: u32 [PROJECTED + MIXED + 4 * VALUE_HEADS + HIDDEN + INNER]: exchange.wgsl.
// One workgroup of a team: a share of every product, products.wgsl; and in between every so many quarters of a head's columns, QUADS * DK / ROWS threads with
// 4 columns of ROWS rows of the state each.
enable subgroups;
diagnostic(off, subgroup_uniformity); // subgroups are threads in a row, and go through stretches together
#include "layer_step/layer.wgsl"

const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const PAST: u32 = 3u; // TAPS - 1
const TAPS: u32 = 4u;
const ROWS: u32 = 4u; // no other number
const QUADS: u32 = DV / 16u; // of a quarter of a head's columns
const KEYS: u32 = KEY_HEADS * DK;
const CHANNELS: u32 = 2u * KEYS + VALUE_HEADS * DV;
const PROJECTED: u32 = CHANNELS + VALUE_HEADS * DV + 2u * VALUE_HEADS;
const DELTA_THREADS: u32 = QUADS * DK / ROWS;
const DELTA_SUBGROUPS: u32 = DELTA_THREADS / LANES;
// Where things travel.
const MIXED_WORDS: u32 = PROJECTED;
const SQUARES_WORDS: u32 = MIXED_WORDS + MIXED;
const FINISH_WORDS: u32 = SQUARES_WORDS + 4u * VALUE_HEADS;

@group(0) @binding(9) var<storage, read> taps: array<f32>;
@group(0) @binding(10) var<storage, read_write> history: array<f32>;
@group(0) @binding(11) var<storage, read> A_log: array<f32>;
@group(0) @binding(12) var<storage, read> dt_bias: array<f32>;
@group(0) @binding(13) var<storage, read> head_norm: array<vec4<f32>>;
@group(0) @binding(14) var<storage, read_write> state: array<vec4<f32>>;

// q . q, k . k and k . q of a head, by subgroup; what the threads of a quarter wait for: q | k | v | z | b | a; and what b and a make of the state: how much of it
// stays, and how much of what it lacks is added.
var<workgroup> key_products: array<vec3<f32>, DELTA_SUBGROUPS>;
var<workgroup> brought: array<vec4<f32>, DK / 2u + 2u * QUADS + 1u>;
var<workgroup> decay_and_beta: vec2<f32>;
var<workgroup> squares: array<vec4<f32>, VALUE_HEADS>;

// The word that a thread brings for a quarter of a head.
fn word_for(i: u32, head: u32, quarter: u32) -> u32 {
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let column = head * DV + quarter * 4u * QUADS;
  if i < DK {
    return key_head * DK + i;
  }
  if i < 2u * DK {
    return KEYS + key_head * DK + i - DK;
  }
  if i < 2u * DK + 4u * QUADS {
    return 2u * KEYS + column + i - 2u * DK;
  }
  if i < 2u * DK + 8u * QUADS {
    return CHANNELS + column + i - 2u * DK - 4u * QUADS;
  }
  return CHANNELS + VALUE_HEADS * DV + head + select(0u, VALUE_HEADS, i > 2u * DK + 8u * QUADS);
}

// The delta rule on a quarter of a head's columns.
fn delta(head: u32, quarter: u32, thread: u32) {
  let quad = thread % QUADS;
  let row0 = thread / QUADS * ROWS;
  let column = quarter * 4u * QUADS + 4u * quad;
  let works = thread < DELTA_THREADS;
#repeat r ROWS
  var S_$r = vec4<f32>();
#end
  if works {
#repeat r ROWS
    S_$r = state[((head * DK + row0 + $ru) * DV + column) / 4u];
#end
  }
  let weight = head_norm[column / 4u];
  let rate = A_log[head];
  let bias = dt_bias[head];
  for (var i = 0u; i < params.never; i++) {
    out[i] += rate + bias + weight.x + weight.y + weight.z + weight.w;
#repeat r ROWS
    out[i] += S_$r.x + S_$r.y + S_$r.z + S_$r.w;
#end
  }
  if thread < 2u * DK + 8u * QUADS + 2u {
    brought[thread / 4u][thread % 4u] = await_value(word_for(thread, head, quarter));
  }
  workgroupBarrier();

  // S^T k and S^T q of the old state, from which o = S^T q + (k . q) u follows without a second pass.
  let q = brought[thread % DELTA_THREADS / QUADS];
  let k = brought[DK / 4u + thread % DELTA_THREADS / QUADS];
  if works {
    var k_sum = vec4<f32>();
    var q_sum = vec4<f32>();
#repeat r ROWS
    k_sum += S_$r * k[$r];
    q_sum += S_$r * q[$r];
#end
    var product = vec3<f32>(dot(q, q), dot(k, k), dot(k, q));
    for (var mask = QUADS; mask < LANES; mask <<= 1u) {
      product += subgroupShuffleXor(product, mask);
      k_sum += subgroupShuffleXor(k_sum, mask);
      q_sum += subgroupShuffleXor(q_sum, mask);
    }
    if thread % LANES < QUADS {
      x[thread / LANES * QUADS + quad] = k_sum;
      x[MOST_WIDTH + thread / LANES * QUADS + quad] = q_sum;
    }
    if thread % LANES == 0u {
      key_products[thread / LANES] = product;
    }
  }
  if thread == THREADS - 1u {
    let b_and_a = brought[DK / 2u + 2u * QUADS];
    decay_and_beta = vec2<f32>(exp(-exp(rate) * softplus(b_and_a.y + bias)), sigmoid(b_and_a.x));
  }
  workgroupBarrier();
  if works {
    var k_sum = vec4<f32>();
    var q_sum = vec4<f32>();
    var product = vec3<f32>();
    for (var i = 0u; i < DELTA_SUBGROUPS; i++) {
      k_sum += x[i * QUADS + quad];
      q_sum += x[MOST_WIDTH + i * QUADS + quad];
      product += key_products[i];
    }
    let v = brought[DK / 2u + quad];
    let z = brought[DK / 2u + QUADS + quad];
    let q_scale = inverseSqrt(product.x + 1e-6) / sqrt(f32(DK));
    let k_scale = inverseSqrt(product.y + 1e-6);
    let decay = decay_and_beta.x;
    let u = decay_and_beta.y * (v - k_scale * decay * k_sum);
    let o = q_scale * (decay * q_sum + k_scale * product.z * u);
    if thread < LANES {
      let square = subgroupAdd(select(0.0, dot(o, o), thread < QUADS));
      if thread == 0u {
        send(SQUARES_WORDS + 4u * head + quarter, square);
      }
    }
    if thread < QUADS {
      let normed = weight * o * vec4<f32>(silu(z.x), silu(z.y), silu(z.z), silu(z.w));
#repeat i 4
      send(MIXED_WORDS + head * DV + column + $iu, normed[$i]);
#end
    }
#repeat r ROWS
    state[((head * DK + row0 + $ru) * DV + column) / 4u] = decay * S_$r + (k_scale * k[$r]) * u;
#end
  }
  workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
  if params.muster > 0u {
    muster(thread);
    return;
  }
  let projected = share_of(PROJECTED, workgroup.x, workgroups.x);
  let hidden = share_of(HIDDEN, workgroup.x, workgroups.x);
  let inner = share_of(INNER, workgroup.x, workgroups.x);
  begin_3(projected, projected.y, thread);
  begin_finish(hidden, thread);
  // For the columns that a workgroup owns, as many as it has threads.
  let column = min(projected.x + thread, PROJECTED - 1u);
  let channel = min(column, CHANNELS - 1u);
  let newest = taps[channel * TAPS + PAST];
#repeat k PAST
  let tap_$k = taps[channel * TAPS + $ku];
  let past_$k = history[channel * PAST + $ku];
#end
  for (var i = 0u; i < params.never; i++) {
    out[i] += newest;
#repeat k PAST
    out[i] += tap_$k + past_$k;
#end
  }
  let factor = project(projected, thread);
  if thread < projected.y {
    var value = factor * total_3(thread);
    if column < CHANNELS {
      var sum = newest * value;
#repeat k PAST
      sum += tap_$k * past_$k;
      if $ku > 0u {
        history[channel * PAST + $ku - 1u] = past_$k;
      }
#end
      history[channel * PAST + PAST - 1u] = value;
      value = silu(sum);
    }
    send(column, value);
  }
  workgroupBarrier();

  for (var quarter = workgroup.x; quarter < 4u * VALUE_HEADS; quarter += workgroups.x) {
    delta(quarter / 4u, quarter % 4u, thread);
  }
  await_words(MIXED_WORDS, MIXED + 4u * VALUE_HEADS, thread);
  begin_0(hidden, hidden.y, thread);
#repeat j MIXED_ROUNDS
  if thread + $ju * THREADS >= MIXED && thread + $ju * THREADS < MIXED + 4u * VALUE_HEADS {
    let i = thread + $ju * THREADS - MIXED;
    squares[i / 4u][i % 4u] = value_of(word_$j);
  }
#end
  workgroupBarrier();
#repeat j MIXED_ROUNDS
  if thread + $ju * THREADS < MIXED {
    let mean = dot(squares[(thread + $ju * THREADS) / DV], vec4<f32>(1.0 / f32(DV)));
    put($ju, value_of(word_$j) * inverseSqrt(mean + params.head_eps), thread);
  }
#end
  workgroupBarrier();
  finish(FINISH_WORDS, hidden, inner, thread);
}

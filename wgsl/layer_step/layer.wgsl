// What a decoder layer does with one token before and after its mixer, which makes a of p:
//   p = in_proj m, m = residual * rsqrt(mean(residual^2) + eps) * (weight_offset + in_norm)
//   h = residual + out_proj a;   n = h * rsqrt(mean(h^2) + eps) * (weight_offset + norm);   f = silu(gate n) * (up n);   out = h + down f
// in_proj: [PROJECTED, HIDDEN], out_proj: [HIDDEN, MIXED], gate_up: [2 * INNER, HIDDEN], gate rows first, down: [HIDDEN, INNER].
// in_norm, norm, residual, out: f32 [HIDDEN]. All arithmetic in f32.
// Each workgroup makes its share of p, h, f and out (of p and h at most a value a thread), and reads all of a, h and f.
#include "layer_step/exchange.wgsl"
#include "layer_step/products.wgsl"
#include "common/sigmoid.wgsl"

const MIXED_ROUNDS: u32 = 4u; // in which the threads bring so many values
const HIDDEN_ROUNDS: u32 = 3u;
const INNER_ROUNDS: u32 = 9u;

struct Params {
  eps: f32,
  head_eps: f32, // of the heads' norms in the mixer
  weight_offset: f32,
  patience: u32, // looks at a word before giving up
  muster: u32, // 0: work; else looks at who is there
  never: u32, // 0, which the compiler cannot know
  parts: u32, // attention_layer.wgsl alone, and the next two
  at_cursor: u32,
  seen: u32,
}

@group(0) @binding(0) var<storage, read> weights_0: array<vec4<u32>>; // out_proj
@group(0) @binding(1) var<storage, read> weights_1: array<vec4<u32>>; // gate_up
@group(0) @binding(2) var<storage, read> weights_2: array<vec4<u32>>; // down
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<storage, read> in_norm: array<f32>;
@group(0) @binding(8) var<storage, read> weights_3: array<vec4<u32>>; // in_proj

var<workgroup> squares_of_x: array<f32, SUBGROUPS>;
var<private> own_residual: f32;
#repeat j HIDDEN_ROUNDS
var<private> norm_$j: f32;
#end

// Adds up squares of x's elements: each thread's own here, all of them in inverse_rms, after a barrier.
fn note_square(square: f32, thread: u32) {
  let sum = subgroupAdd(square);
  if thread % LANES == 0u {
    squares_of_x[thread / LANES] = sum;
  }
}

// rsqrt of the mean square of x's HIDDEN elements.
fn inverse_rms(thread: u32) -> f32 {
  var sum = 0.0;
  for (var i = thread % LANES; i < SUBGROUPS; i += LANES) {
    sum += squares_of_x[i];
  }
  return inverseSqrt(subgroupAdd(sum) / f32(HIDDEN) + params.eps);
}

// p, but for the factor that is returned: sums of the workgroup's share, for total_3. begin_3 comes first.
fn project(projected: vec2<u32>, thread: u32) -> f32 {
  var square = 0.0;
#repeat j HIDDEN_ROUNDS
  {
    let i = min(thread + $ju * THREADS, HIDDEN - 1u);
    let value = residual[i];
    let weighted = value * (params.weight_offset + in_norm[i]);
    if thread + $ju * THREADS < HIDDEN {
      square += value * value;
      put($ju, weighted, thread);
    }
  }
#end
  note_square(square, thread);
  workgroupBarrier();
  multiply_3(projected, projected.y, thread);
  workgroupBarrier();
  return inverse_rms(thread);
}

// Asks for what `finish` needs besides weights, long before.
fn begin_finish(hidden: vec2<u32>, thread: u32) {
  own_residual = residual[min(hidden.x + thread, HIDDEN - 1u)];
#repeat j HIDDEN_ROUNDS
  norm_$j = params.weight_offset + norm[min(thread + $ju * THREADS, HIDDEN - 1u)];
#end
  for (var i = 0u; i < params.never; i++) {
    out[i] += own_residual;
#repeat j HIDDEN_ROUNDS
    out[i] += norm_$j;
#end
  }
}

// From a in x to out. h and f travel in words from `first` on.
fn finish(first: u32, hidden: vec2<u32>, inner: vec2<u32>, thread: u32) {
  multiply_0(hidden, hidden.y, thread);
  workgroupBarrier();
  var h = own_residual;
  if thread < hidden.y {
    h += total_0(thread);
    send(first + hidden.x + thread, h);
  }
  workgroupBarrier();

  await_words(first, HIDDEN, thread);
  begin_1(inner, 2u * inner.y, thread);
  var square = 0.0;
#repeat j HIDDEN_ROUNDS
  if thread + $ju * THREADS < HIDDEN {
    let value = value_of(word_$j);
    square += value * value;
    put($ju, value * norm_$j, thread);
  }
#end
  note_square(square, thread);
  workgroupBarrier();
  multiply_1(inner, 2u * inner.y, thread);
  workgroupBarrier();
  let factor = inverse_rms(thread);
  for (var i = thread; i < inner.y; i += THREADS) {
    send(first + HIDDEN + inner.x + i, silu(factor * total_1(i)) * (factor * total_1(inner.y + i)));
  }
  workgroupBarrier();

  await_words(first + HIDDEN, INNER, thread);
  begin_2(hidden, hidden.y, thread);
#repeat j INNER_ROUNDS
  if thread + $ju * THREADS < INNER {
    put($ju, value_of(word_$j), thread);
  }
#end
  workgroupBarrier();
  multiply_2(hidden, hidden.y, thread);
  workgroupBarrier();
  if thread < hidden.y {
    out[hidden.x + thread] = h + total_2(thread);
  }
}

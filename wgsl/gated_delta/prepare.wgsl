// Gated delta rule, its inputs: per key head q and k of unit length, per value head the decay g and the write strength beta.
//   q <- q * rsqrt(sum(q^2) + 1e-6) / sqrt(DK)      k <- k * rsqrt(sum(k^2) + 1e-6)
//   g = -exp(A_log) * softplus(a + dt_bias)         beta = sigmoid(b)
// y: f32 [T, 2*KEY_HEADS*DK + VALUE_HEADS*DV], columns q | k | v (only q and k are read here). projection: f32 [T, params.stride] with b and a at
// columns params.b and params.a. A_log, dt_bias: f32 [VALUE_HEADS]. qk: f32 [T, 2*KEY_HEADS, DK]. gates: f32 [T, VALUE_HEADS, 2]: g, beta.
// One workgroup: one token.
#include "common/sigmoid.wgsl"
#include "common/grid.wgsl"

const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const THREADS: u32 = 128u;
// Threads that share one head's sum of squares.
const LANES: u32 = 8u;

struct Params {
  tokens: u32,
  stride: u32,
  b: u32,
  a: u32,
}

@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> projection: array<f32>;
@group(0) @binding(2) var<storage, read> A_log: array<f32>;
@group(0) @binding(3) var<storage, read> dt_bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> qk: array<f32>;
@group(0) @binding(5) var<storage, read_write> gates: array<f32>;

var<workgroup> partial: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let token = line_index(group, groups);
  if token >= params.tokens {
    return;
  }
  let row = token * (2u * KEY_HEADS * DK + VALUE_HEADS * DV);
  let lane = thread % LANES;
  for (var head0 = 0u; head0 < 2u * KEY_HEADS; head0 += THREADS / LANES) {
    let head = head0 + thread / LANES;
    var sum = 0.0;
    if head < 2u * KEY_HEADS {
      for (var d = lane; d < DK; d += LANES) {
        let value = y[row + head * DK + d];
        sum += value * value;
      }
    }
    partial[thread] = sum;
    workgroupBarrier();
    if head < 2u * KEY_HEADS {
      sum = 0.0;
      for (var i = 0u; i < LANES; i++) {
        sum += partial[thread - lane + i];
      }
      let scale = inverseSqrt(sum + 1e-6) * select(1.0, 1.0 / sqrt(f32(DK)), head < KEY_HEADS);
      for (var d = lane; d < DK; d += LANES) {
        qk[(token * 2u * KEY_HEADS + head) * DK + d] = y[row + head * DK + d] * scale;
      }
    }
    workgroupBarrier();
  }
  for (var h = thread; h < VALUE_HEADS; h += THREADS) {
    let at = (token * VALUE_HEADS + h) * 2u;
    gates[at] = -exp(A_log[h]) * softplus(projection[token * params.stride + params.a + h] + dt_bias[h]);
    gates[at + 1u] = sigmoid(projection[token * params.stride + params.b + h]);
  }
}

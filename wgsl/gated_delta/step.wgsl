// Gated delta rule for one token (decoding), with everything around it that concerns one head: unit q and k, gates, the recurrence, and the gated norm.
//   q, k, g, beta: as in prepare.wgsl;   S, o: as in recurrent.wgsl;   out = norm * o * rsqrt(mean(o^2) + eps) * silu(z)
// y: f32 [2*KEY_HEADS*DK + VALUE_HEADS*DV], columns q | k | v after convolution. projection: f32 row that holds z, b and a at params.z, params.b, params.a.
// A_log, dt_bias: f32 [VALUE_HEADS]. norm: f32 [DV]. state: f32 [VALUE_HEADS, DK, DV], updated in place. out: f32 or f16 [VALUE_HEADS * DV], DV even.
// All arithmetic in f32. One workgroup: one value head; DV threads by PARTS, each with one column of ROWS rows of the state in registers.
#include "common/dtype.wgsl"
#include "common/activation.wgsl"

const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const PARTS: u32 = 2u;
const ROWS: u32 = 64u; // DK / PARTS, rounded up
const OUT_F16: bool = false;
const EXACT: bool = ROWS * PARTS == DK;
const THREADS: u32 = DV * PARTS;
// A sum over the workgroup is added up in runs of this many threads' values, then over the runs.
const RUN: u32 = 16u;
const RUNS: u32 = (THREADS + RUN - 1u) / RUN;

struct Params {
  z: u32,
  b: u32,
  a: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> projection: array<f32>;
@group(0) @binding(2) var<storage, read> A_log: array<f32>;
@group(0) @binding(3) var<storage, read> dt_bias: array<f32>;
@group(0) @binding(4) var<storage, read> norm: array<f32>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<u32>;

var<workgroup> q: array<f32, DK>;
var<workgroup> k: array<f32, DK>;
var<workgroup> parts: array<vec2<f32>, THREADS>;
var<workgroup> values: array<vec4<f32>, THREADS>;
var<workgroup> runs: array<vec4<f32>, RUNS>;
var<workgroup> result: array<f32, DV>;

fn workgroup_total(value: vec4<f32>, thread: u32) -> vec4<f32> {
  values[thread] = value;
  workgroupBarrier();
  if thread < RUNS {
    var sum = vec4<f32>();
    for (var i = thread * RUN; i < min((thread + 1u) * RUN, THREADS); i++) {
      sum += values[i];
    }
    runs[thread] = sum;
  }
  workgroupBarrier();
  var total = vec4<f32>();
  for (var i = 0u; i < RUNS; i++) {
    total += runs[i];
  }
  return total;
}

fn softplus(x: f32) -> f32 {
  if x > 20.0 {
    return x;
  }
  return log(1.0 + exp(x));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.x;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let column = thread % DV;
  let row0 = (thread / DV) * ROWS;
  let base = head * DK * DV + column;

  // The state's rows travel while the vectors are prepared. Rows beyond the end read the last one and count for nothing: a branch
  // around each load would make them wait for one another.
#repeat j ROWS
  var S_$j = state[base + min(row0 + $ju, DK - 1u) * DV];
#end
  var products = vec4<f32>();
  for (var i = thread; i < DK; i += THREADS) {
    let q_value = y[key_head * DK + i];
    let k_value = y[(KEY_HEADS + key_head) * DK + i];
    q[i] = q_value;
    k[i] = k_value;
    products += vec4<f32>(q_value * q_value, k_value * k_value, k_value * q_value, 0.0);
  }
  products = workgroup_total(products, thread);
  let q_scale = inverseSqrt(products.x + 1e-6) / sqrt(f32(DK));
  let k_scale = inverseSqrt(products.y + 1e-6);
  let kq = products.z;
  let decay = exp(-exp(A_log[head]) * softplus(projection[params.a + head] + dt_bias[head]));
  let beta = sigmoid(projection[params.b + head]);
  let v = y[2u * KEY_HEADS * DK + head * DV + column];

  // S^T k of the decayed state, and S^T q and k . q, from which o = S^T q + (k . q) u follows without a second pass.
  var sums = vec2<f32>();
#repeat j ROWS
  S_$j *= decay;
  if EXACT || row0 + $ju < DK {
    sums += S_$j * vec2<f32>(k[row0 + $ju], q[row0 + $ju]);
  }
#end
  parts[thread] = sums;
  workgroupBarrier();
  sums = vec2<f32>();
  for (var p = 0u; p < PARTS; p++) {
    sums += parts[p * DV + column];
  }
  let u = beta * (v - k_scale * sums.x);
  let o = q_scale * (sums.y + k_scale * kq * u);
#repeat j ROWS
  if EXACT || row0 + $ju < DK {
    state[base + (row0 + $ju) * DV] = S_$j + k_scale * k[row0 + $ju] * u;
  }
#end

  // Every part of a column has the same o.
  let mean = workgroup_total(vec4<f32>(select(0.0, o * o, thread < DV)), thread).x / f32(DV);
  if thread < DV {
    let z = projection[params.z + head * DV + column];
    result[column] = norm[column] * o * inverseSqrt(mean + params.eps) * activate(z, ACTIVATION_SILU);
  }
  workgroupBarrier();
  let at = head * DV;
  if OUT_F16 {
    if thread < DV / 2u {
      out[(at >> 1u) + thread] = narrow_pair(result[2u * thread], result[2u * thread + 1u]);
    }
  } else if thread < DV {
    out[at + thread] = bitcast<u32>(result[thread]);
  }
}

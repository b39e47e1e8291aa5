// Matmul for a few rows of x (decoding): out[m, n] = sum_k x[m, k] * w[n, k]. Bound by reading w once: neighbouring threads read neighbouring
// 16 bytes of a row of w and keep the partial sums of PAIRS*2 rows, added up at the end through workgroup memory. K must be a multiple of 8.
// x: [M, K] f32 or f16, M <= ROWS. w: [N, K] f32, f16 or bf16. Accumulates in f32. Epilogue and result: epilogue.wgsl.
// One workgroup: ROWS rows x 2*PAIRS columns with THREADS threads.
#include "matmul/epilogue.wgsl"
#include "common/grid.wgsl"

const X_DTYPE: u32 = 0u;
const W_DTYPE: u32 = 0u;
const ROWS: u32 = 1u;
const PAIRS: u32 = 2u;
const THREADS: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;

var<workgroup> partial: array<f32, THREADS * ROWS * PAIRS * 2>;

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

fn load_x(i: u32) -> Eight {
  if X_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(x[i >> 2u]), bitcast<vec4<f32>>(x[(i >> 2u) + 1u]));
  }
  let words = x[i >> 3u];
  return Eight(widen_quad(words.xy, X_DTYPE), widen_quad(words.zw, X_DTYPE));
}

fn load_w(i: u32) -> Eight {
  if W_DTYPE == DTYPE_F32 {
    return Eight(bitcast<vec4<f32>>(w[i >> 2u]), bitcast<vec4<f32>>(w[(i >> 2u) + 1u]));
  }
  let words = w[i >> 3u];
  return Eight(widen_quad(words.xy, W_DTYPE), widen_quad(words.zw, W_DTYPE));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let column0 = line_index(group, groups) * 2u * PAIRS;
  var sums: array<f32, ROWS * PAIRS * 2>;
  for (var k = thread * 8u; k < params.K; k += THREADS * 8u) {
    var weights: array<Eight, PAIRS * 2>;
    for (var c = 0u; c < PAIRS * 2u; c++) {
      // Columns beyond the end repeat the last one; store_pair drops them.
      weights[c] = load_w(min(column0 + c, params.N - 1u) * params.K + k);
    }
    for (var m = 0u; m < ROWS; m++) {
      let a = load_x(min(m, params.M - 1u) * params.K + k);
      for (var c = 0u; c < PAIRS * 2u; c++) {
        sums[m * PAIRS * 2u + c] += dot(a.low, weights[c].low) + dot(a.high, weights[c].high);
      }
    }
  }
  for (var i = 0u; i < ROWS * PAIRS * 2u; i++) {
    partial[i * THREADS + thread] = sums[i];
  }
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    for (var i = thread; i < ROWS * PAIRS * 2u * half; i += THREADS) {
      let at = (i / half) * THREADS + i % half;
      partial[at] += partial[at + half];
    }
  }
  workgroupBarrier();
  if thread < ROWS * PAIRS {
    let at = thread * 2u * THREADS;
    store_pair(thread / PAIRS, column0 + 2u * (thread % PAIRS), partial[at], partial[at + THREADS]);
  }
}

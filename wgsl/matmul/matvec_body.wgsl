// Matmul for a few rows of x (decoding): out[m, n] = sum_k x[m, k] * w[n, k]. Bound by reading w once: neighbouring threads read neighbouring 16 bytes of a
// row of w and keep partial sums of SLOTS rows, added up at the end over the workgroup (workgroup_sums of the file that includes this one). K a multiple of 8.
// x: [M, K] f32 or f16, M = ROWS. w: [N, K] f32, f16 or bf16. Accumulates in f32. Epilogue and result: store_pair.wgsl.
// NORM: x goes through a zero-centred or plain RMSNorm first; since the whole row passes through this workgroup anyway, its sum of squares is one more sum:
//   out = rsqrt(sum(x^2) / K + params.eps) * sum_k x[k] * (params.weight_offset + norm[k]) * w[n, k]
// GROUP: x is a norm's result but for its factor, one for every GROUP columns, a multiple of 8, whose squares come as four sums in norm[k / GROUP]:
//   out = sum_k x[k] * rsqrt(sum(norm[k / GROUP]) / GROUP + params.eps) * w[n, k]
// GATED: w holds gate rows, then as many up rows, and out[m, f] = params.scale * silu(gate . x) * (up . x) (SwiGLU; no epilogue), [M, N / 2].
// CONV: of the one row of the result, the first CHANNELS columns go through a step of a causal convolution and SiLU (causal_conv1d/sequence.wgsl) instead of
// the epilogue. bias then holds the taps, f32 [CHANNELS, TAPS]; history: f32 [CHANNELS, TAPS - 1], oldest first, moved on by this token. Whoever sums up a
// column owns its history, so nobody else reads what it overwrites.
// One workgroup: all rows of x, SLOTS rows of w, THREADS threads.
#include "matmul/store_pair.wgsl"
#include "common/grid.wgsl"

const X_DTYPE: u32 = 0u;
const W_DTYPE: u32 = 0u;
const NORM: bool = false;
const GROUP: u32 = 0u; // 0: x is what it is
const GATED: bool = false;
const CONV: u32 = 0u; // 1: there is a convolution
const CHANNELS: u32 = 1u;
const TAPS: u32 = 4u;
const ROWS: u32 = 1u;
const SLOTS: u32 = 4u;
const THREADS: u32 = 128u;
const PAIRS: u32 = SLOTS / 2u;
const BATCH: u32 = 1u; // pieces of each row that a thread has in flight
const EXACT: bool = true; // K is a multiple of THREADS * 8 * BATCH, or BATCH is 1
// Dot products, then the sums of squares.
const SUMS: u32 = ROWS * SLOTS + ROWS;
// Taps and history that a thread brings.
const BROUGHT: u32 = 1u; // SLOTS * TAPS / THREADS, rounded up

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> norm: array<vec4<f32>>;

#repeat once CONV
@group(0) @binding(7) var<storage, read_write> history: array<f32>;

var<workgroup> taps: array<f32, BROUGHT * THREADS>;
var<workgroup> past: array<f32, BROUGHT * THREADS>;

// The result in a column, whose history moves on.
fn convolved(column: u32, slot: u32, current: f32) -> f32 {
  if column >= min(CHANNELS, params.column0 + params.N) {
    return current;
  }
  let first = column * (TAPS - 1u);
  var sum = taps[slot * TAPS + TAPS - 1u] * current;
  for (var k = 0u; k + 1u < TAPS; k++) {
    let x = past[slot * TAPS + k];
    sum += taps[slot * TAPS + k] * x;
    if k > 0u {
      history[first + k - 1u] = x;
    }
  }
  history[first + TAPS - 2u] = current;
  return silu(sum);
}
#end

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

// Row of w in a slot: consecutive rows, or gate and up rows in turn. Beyond the end the last row again, whose result is dropped.
fn row_of(slot0: u32, slot: u32) -> u32 {
  if GATED {
    return min((slot0 + slot) / 2u, params.N / 2u - 1u) + (slot % 2u) * (params.N / 2u);
  }
  return min(slot0 + slot, params.N - 1u);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let slot0 = line_index(group, groups) * SLOTS;
  var sums = array<f32, SUMS>();
#repeat s SLOTS
  let base_$s = row_of(slot0, $su) * params.K;
#end
  if HAS_RESIDUAL {
    let first = min(thread / PAIRS, ROWS - 1u) * params.columns + params.column0;
    let local = slot0 + 2u * (thread % PAIRS);
    early_residual = vec2<f32>(residual[first + min(local, params.N - 1u)], residual[first + min(local + 1u, params.N - 1u)]);
    // Never runs; keeps compilers from moving the loads behind the loop.
    for (var i = 0u; i < params.never; i++) {
      out[i] = bitcast<u32>(early_residual.x + early_residual.y);
    }
  }
#repeat once CONV
#repeat i BROUGHT
  let item_$i = thread + $iu * THREADS;
  let channel_$i = min(params.column0 + slot0 + item_$i / TAPS, CHANNELS - 1u);
  let tap_$i = bias[channel_$i * TAPS + item_$i % TAPS];
  let past_$i = history[channel_$i * (TAPS - 1u) + min(item_$i % TAPS, TAPS - 2u)];
  for (var i = 0u; i < params.never; i++) {
    out[i] = bitcast<u32>(tap_$i + past_$i);
  }
#end
#end
  for (var k = thread * 8u; k < params.K; k += THREADS * 8u * BATCH) {
    // Pieces beyond the end read the last one and count for nothing: a branch around each load would make them wait for one another.
#repeat b BATCH
    let k_$b = select(min(k + $bu * THREADS * 8u, params.K - 8u), k + $bu * THREADS * 8u, EXACT);
#repeat s SLOTS
    let w_$b_$s = load_w(base_$s + k_$b);
#end
#end
#repeat b BATCH
#repeat m ROWS
    {
      var a = load_x($mu * params.K + k_$b);
      if !EXACT && k + $bu * THREADS * 8u >= params.K {
        a = Eight();
      }
      if NORM {
        sums[ROWS * SLOTS + $mu] += dot(a.low, a.low) + dot(a.high, a.high);
        a.low *= params.weight_offset + norm[k_$b >> 2u];
        a.high *= params.weight_offset + norm[(k_$b >> 2u) + 1u];
      }
      if GROUP > 0u {
        let factor = inverseSqrt(dot(norm[k_$b / max(GROUP, 1u)], vec4<f32>(1.0)) / f32(GROUP) + params.eps);
        a.low *= factor;
        a.high *= factor;
      }
#repeat s SLOTS
      sums[$mu * SLOTS + $su] += dot(a.low, w_$b_$s.low) + dot(a.high, w_$b_$s.high);
#end
    }
#end
#end
  }
#repeat once CONV
#repeat i BROUGHT
  taps[item_$i] = tap_$i;
  past[item_$i] = past_$i;
#end
#end
  workgroup_sums(&sums, thread);

  if thread < ROWS * PAIRS {
    let row = thread / PAIRS;
    let pair = thread % PAIRS;
    var factor = 1.0;
    if NORM {
      factor = inverseSqrt(total_of(ROWS * SLOTS + row) / f32(params.K) + params.eps);
    }
    var first = factor * total_of(row * SLOTS + 2u * pair);
    var second = factor * total_of(row * SLOTS + 2u * pair + 1u);
    if GATED {
      store_gated(row, slot0 / 2u + pair, params.scale * silu(first) * second);
    } else {
#repeat once CONV
      let column = params.column0 + slot0 + 2u * pair;
      first = convolved(column, 2u * pair, first);
      second = convolved(column + 1u, 2u * pair + 1u, second);
#end
      store_pair(row, slot0 + 2u * pair, first, second);
    }
  }
}

// An f32 word of the gated result.
fn store_gated(row: u32, column: u32, value: f32) {
  if column < params.columns {
    out[row * params.columns + column] = bitcast<u32>(value);
  }
}

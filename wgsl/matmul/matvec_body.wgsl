// Matmul for a few rows of x (decoding): out[m, n] = sum_k x[m, k] * w[n, k]. Bound by reading w once: neighbouring threads read neighbouring 16 bytes of a
// row of w and keep partial sums of SLOTS rows, added up at the end over the workgroup (workgroup_sums of the file that includes this one). K a multiple of 8.
// x: [M, K] f32 or f16, M = ROWS. w: [N, K] f32, f16 or bf16. Accumulates in f32. Epilogue and result: epilogue.wgsl.
// NORM: x goes through a zero-centred or plain RMSNorm first; since the whole row passes through this workgroup anyway, its sum of squares is one more sum:
//   out = rsqrt(sum(x^2) / K + params.eps) * sum_k x[k] * (params.weight_offset + norm[k]) * w[n, k]
// GATED: w holds gate rows, then as many up rows, and out[m, f] = params.scale * silu(gate . x) * (up . x) (SwiGLU; no epilogue), [M, N / 2].
// One workgroup: all rows of x, SLOTS rows of w, THREADS threads.
#include "matmul/epilogue.wgsl"
#include "common/grid.wgsl"

const X_DTYPE: u32 = 0u;
const W_DTYPE: u32 = 0u;
const NORM: bool = false;
const GATED: bool = false;
const ROWS: u32 = 1u;
const SLOTS: u32 = 4u;
const THREADS: u32 = 128u;
// Dot products, then the sums of squares.
const SUMS: u32 = ROWS * SLOTS + ROWS;

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> norm: array<vec4<f32>>;

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
  for (var k = thread * 8u; k < params.K; k += THREADS * 8u) {
#repeat s SLOTS
    let w_$s = load_w(base_$s + k);
#end
#repeat m ROWS
    {
      var a = load_x($mu * params.K + k);
      if NORM {
        sums[ROWS * SLOTS + $mu] += dot(a.low, a.low) + dot(a.high, a.high);
        a.low *= params.weight_offset + norm[k >> 2u];
        a.high *= params.weight_offset + norm[(k >> 2u) + 1u];
      }
#repeat s SLOTS
      sums[$mu * SLOTS + $su] += dot(a.low, w_$s.low) + dot(a.high, w_$s.high);
#end
    }
#end
  }
  workgroup_sums(&sums, thread);

  if thread < ROWS * SLOTS / 2u {
    let row = thread / (SLOTS / 2u);
    let pair = thread % (SLOTS / 2u);
    var factor = 1.0;
    if NORM {
      factor = inverseSqrt(total_of(ROWS * SLOTS + row) / f32(params.K) + params.eps);
    }
    let first = factor * total_of(row * SLOTS + 2u * pair);
    let second = factor * total_of(row * SLOTS + 2u * pair + 1u);
    if GATED {
      store_gated(row, slot0 / 2u + pair, params.scale * activate(first, ACTIVATION_SILU) * second);
    } else {
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

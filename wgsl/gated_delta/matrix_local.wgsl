// Gated delta rule on subgroup matrices, step 1 of 3: chunk_local.wgsl with f16 operands and f32 sums. T is found in f32 and rounded once.
// q, k (of unit length), gates: as matrix_prepare.wgsl leaves them. y: f16, else as in recurrent.wgsl. Results:
// uv: f16 [chunks, VALUE_HEADS, CHUNK, DV]. w: f16 [chunks, VALUE_HEADS, CHUNK/16, DK/16, 16, 16]: blocks of -W.
// m: f16 [chunks, VALUE_HEADS, CHUNK, CHUNK]: M / sqrt(DK). scales: f32 [chunks, VALUE_HEADS, 2, CHUNK]: e^(G_C - G), e^G. DK = DV = 128.
// One workgroup: one chunk of one head (x: chunk, y: head), 8 subgroups of 32. Matrices pass through one place in workgroup memory on their way in and out.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "common/dtype.wgsl"

const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 64u;
const THREADS: u32 = 256u;
// Rows in vec4s, odd to spread the banks: 128 halves or 64 f32, and 64 halves.
const STRIDE: u32 = 17u;
const T_STRIDE: u32 = 9u;
const Y_EIGHTHS: u32 = (2u * KEY_HEADS * DK + VALUE_HEADS * DV) / 8u;

struct Params {
  tokens: u32,
  first: u32, // chunk that this segment begins with
  zero: u32,  // 0, which the compiler cannot know
}

@group(0) @binding(0) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> y: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> gates: array<f32>;
@group(0) @binding(4) var<storage, read_write> uv: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> w: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> m: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> scales: array<f32>;

var<workgroup> place: array<vec4<u32>, 2u * CHUNK * T_STRIDE>;
var<workgroup> G: array<f32, CHUNK>;
var<workgroup> g: array<f32, CHUNK>;
var<workgroup> beta: array<f32, CHUNK>;

fn quad(at: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(place[at]);
}

fn narrow(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(narrow_pair(low.x, low.y), narrow_pair(low.z, low.w), narrow_pair(high.x, high.y), narrow_pair(high.z, high.w));
}

@compute @workgroup_size(THREADS)
@diagnostic(off, subgroup_uniformity)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(workgroup_id) group: vec3<u32>,
) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let here = group.x * VALUE_HEADS + head;
  let matrix_row = subgroup % 4u;
  let half = subgroup / 4u;

#repeat i 4
  let place_$i = ((thread + $iu * THREADS) / 16u) * STRIDE + thread % 16u;
  let k_$i = k[((group.x * CHUNK + (thread + $iu * THREADS) / 16u) * KEY_HEADS + key_head) * (DK / 8u) + thread % 16u];
  place[place_$i] = k_$i;
#end
  if thread < CHUNK {
    let at = ((group.x * CHUNK + thread) * VALUE_HEADS + head) * 2u;
    g[thread] = gates[at];
    beta[thread] = gates[at + 1u];
  }
  workgroupBarrier();
  if thread < CHUNK {
    var sum = 0.0;
    for (var s = 0u; s <= thread; s++) {
      sum += g[s];
    }
    G[thread] = sum;
  }

  // K K^T and Q K^T: a row of matrices and two of its columns a subgroup.
#repeat c 2
  var kk_$c = subgroup_matrix_result<f32, 16, 16>();
  var qk_$c = subgroup_matrix_result<f32, 16, 16>();
#end
#repeat d 8
  {
    let k_left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&place, matrix_row * 16u * STRIDE + $du * 2u, STRIDE);
    let q_left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(
      &q, (((group.x * 4u + matrix_row) * KEY_HEADS + key_head) * 8u + $du) * 32u, 2u);
#repeat c 2
    let right_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&place, (half * 2u + $cu) * 16u * STRIDE + $du * 2u, STRIDE);
    kk_$c = subgroupMatrixMultiplyAccumulate(k_left, right_$c, kk_$c);
    qk_$c = subgroupMatrixMultiplyAccumulate(q_left, right_$c, qk_$c);
#end
  }
#end
  workgroupBarrier();
  if thread < CHUNK {
    scales[here * 2u * CHUNK + thread] = exp(G[CHUNK - 1u] - G[thread]);
    scales[here * 2u * CHUNK + CHUNK + thread] = exp(G[thread]);
  }
#repeat c 2
  subgroupMatrixStore<row_major>(&place, matrix_row * 16u * STRIDE + (half * 2u + $cu) * 4u, qk_$c, STRIDE);
#end
  workgroupBarrier();
  // A thread has 16 columns of row t.
  let t = thread / 4u;
  let part = thread % 4u;
#repeat i 4
  let columns_$i = vec4<u32>(0u, 1u, 2u, 3u) + 16u * part + 4u * $iu;
  let decay_$i = exp(min(vec4<f32>(G[t]) - vec4<f32>(G[columns_$i.x], G[columns_$i.y], G[columns_$i.z], G[columns_$i.w]), vec4<f32>()));
  let m_$i = select(vec4<f32>(), inverseSqrt(f32(DK)) * decay_$i * quad(t * STRIDE + 4u * part + $iu), columns_$i <= vec4<u32>(t));
#end
  m[(here * CHUNK + t) * 8u + 2u * part] = narrow(m_0, m_1);
  m[(here * CHUNK + t) * 8u + 2u * part + 1u] = narrow(m_2, m_3);
  workgroupBarrier();
#repeat c 2
  subgroupMatrixStore<row_major>(&place, matrix_row * 16u * STRIDE + (half * 2u + $cu) * 4u, kk_$c, STRIDE);
#end
  workgroupBarrier();
#repeat i 4
  {
    let at = t * STRIDE + 4u * part + $iu;
    place[at] = bitcast<vec4<u32>>(select(vec4<f32>(), beta[t] * decay_$i * quad(at), columns_$i < vec4<u32>(t)));
  }
#end
  workgroupBarrier();

  // V travels while T is found. The loop never runs; it keeps compilers from moving the loads down to where their values are used.
#repeat i 4
  let v_at_$i = min((params.first + group.x) * CHUNK + (thread + $iu * THREADS) / 16u, params.tokens - 1u) * Y_EIGHTHS
    + (2u * KEY_HEADS * DK + head * DV) / 8u + thread % 16u;
  let v_$i = y[v_at_$i];
#end
  for (var i = 0u; i < params.zero; i++) {
#repeat i 4
    uv[i + $iu] = v_$i;
#end
  }
  // As in chunk_local.wgsl: A below the diagonal, T transposed on it and above. Four threads have a column, and sum every fourth four of its terms each;
  // all four then find and store the same values, so that none waits for another's.
  {
    let c = thread / 4u;
    let mine = 4u * (thread % 4u);
    let first = subgroup * 8u; // of the subgroup's columns
    for (var t0 = first; t0 < CHUNK; t0 += 4u) {
      var sums = vec4<f32>();
      for (var s = first + mine; s < t0; s += 16u) {
        let known = select(vec4<f32>(), quad(c * STRIDE + s / 4u), vec4<u32>(s, s + 1u, s + 2u, s + 3u) >= vec4<u32>(c));
#repeat r 4
        sums[$r] += dot(quad((t0 + $ru) * STRIDE + s / 4u), known);
#end
      }
      sums += subgroupShuffleXor(sums, 1u);
      sums += subgroupShuffleXor(sums, 2u);
      var value = select(vec4<f32>(), vec4<f32>(1.0), vec4<u32>(t0, t0 + 1u, t0 + 2u, t0 + 3u) == vec4<u32>(c)) - sums;
      value.y -= quad((t0 + 1u) * STRIDE + t0 / 4u).x * value.x;
      value.z -= dot(quad((t0 + 2u) * STRIDE + t0 / 4u).xy, value.xy);
      value.w -= dot(quad((t0 + 3u) * STRIDE + t0 / 4u).xyz, value.xyz);
#repeat r 4
      if t0 + $ru >= c {
        place[c * STRIDE + t0 / 4u][$r] = bitcast<u32>(value[$r]);
      }
#end
    }
  }
  workgroupBarrier();

  // T diag(beta) and -T diag(beta e^G) in f16: a thread has 16 columns of row thread % 64.
  let row = thread % CHUNK;
  let column0 = (thread / CHUNK) * 16u;
#repeat i 16
  let T_$i = select(0.0, beta[column0 + $iu] * bitcast<f32>(place[(column0 + $iu) * STRIDE + row / 4u][row % 4u]), column0 + $iu <= row);
  let scaled_$i = -exp(G[column0 + $iu]) * T_$i;
#end
  workgroupBarrier();
#repeat h 2
  place[row * T_STRIDE + column0 / 8u + $hu] = vec4<u32>(
#repeat j 4
    narrow_pair(T_$[8 * $h + 2 * $j], T_$[8 * $h + 2 * $j + 1]),
#end
  );
  place[(CHUNK + row) * T_STRIDE + column0 / 8u + $hu] = vec4<u32>(
#repeat j 4
    narrow_pair(scaled_$[8 * $h + 2 * $j], scaled_$[8 * $h + 2 * $j + 1]),
#end
  );
#end
  workgroupBarrier();
#repeat p 2
#repeat k 4
  let left_$p_$k = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&place, ($pu * CHUNK + matrix_row * 16u) * T_STRIDE + $ku * 2u, T_STRIDE);
#end
#end

  // Uv, then -W: a row of matrices and four of its columns a subgroup, stored in two halves of 64 columns.
#repeat p 2
  workgroupBarrier();
#repeat i 4
  if $pu == 0u {
    place[place_$i] = v_$i;
  } else {
    place[place_$i] = k_$i;
  }
#end
  workgroupBarrier();
#repeat a 2
#repeat b 2
  var sum_$p_$a_$b = subgroup_matrix_result<f32, 16, 16>();
#repeat k 4
  sum_$p_$a_$b = subgroupMatrixMultiplyAccumulate(
    left_$p_$k,
    subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&place, $ku * 16u * STRIDE + (4u * $au + 2u * half + $bu) * 2u, STRIDE),
    sum_$p_$a_$b,
  );
#end
#end
#end
#repeat a 2
  workgroupBarrier();
#repeat b 2
  subgroupMatrixStore<row_major>(&place, matrix_row * 16u * STRIDE + (2u * half + $bu) * 4u, sum_$p_$a_$b, STRIDE);
#end
  workgroupBarrier();
  {
    let low = narrow(quad(t * STRIDE + 4u * part), quad(t * STRIDE + 4u * part + 1u));
    let high = narrow(quad(t * STRIDE + 4u * part + 2u), quad(t * STRIDE + 4u * part + 3u));
    if $pu == 0u {
      let at = (here * CHUNK + t) * (DV / 8u) + (4u * $au + part) * 2u;
      uv[at] = low;
      uv[at + 1u] = high;
    } else {
      let at = ((here * 4u + t / 16u) * 8u + 4u * $au + part) * 32u + (t % 16u) * 2u;
      w[at] = low;
      w[at + 1u] = high;
    }
  }
#end
#end
}

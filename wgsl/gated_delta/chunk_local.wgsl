// Gated delta rule, second rung, step 1 of 2: what each chunk of CHUNK tokens can compute without the state before it (WY form; Yang et al. 2024,
// "Parallelizing Linear Transformers with the Delta Rule", with the gates of Gated Delta Networks). With G_t = g_1 + ... + g_t inside the chunk:
//   A[t,s] = beta_t e^(G_t - G_s) k_t.k_s  for s < t        T = (I + A)^-1, by forward substitution
//   Uv = T diag(beta) V        W = T diag(beta e^G) K        M[t,s] = e^(G_t - G_s) q_t.k_s  for s <= t
// Exponents are differences, never positive: nothing overflows. Tokens beyond the end count as k = 0, beta = 0, g = 0.
// qk, y, gates: as in recurrent.wgsl. uv: f32 [T, VALUE_HEADS, DV]. w: f32 [T, VALUE_HEADS, DK]. m: f32 [chunks, VALUE_HEADS, CHUNK, CHUNK].
// sums: f32 [T, VALUE_HEADS]: G. All arithmetic in f32. One workgroup: one chunk of one head (x: chunk, y: head), 256 threads.
const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 32u;
const STRIDE: u32 = 33u;
// Values of a slice that each thread brings in. Loads beyond the end repeat the last value and are dropped: behind a branch they would wait for one another.
const LOADS: u32 = 4u;

struct Params {
  tokens: u32,
}

@group(0) @binding(0) var<storage, read> qk: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read_write> uv: array<f32>;
@group(0) @binding(4) var<storage, read_write> w: array<f32>;
@group(0) @binding(5) var<storage, read_write> m: array<f32>;
@group(0) @binding(6) var<storage, read_write> sums: array<f32>;

var<workgroup> q_slice: array<f32, CHUNK * STRIDE>;
var<workgroup> k_slice: array<f32, CHUNK * STRIDE>;
var<workgroup> A: array<f32, CHUNK * STRIDE>;
var<workgroup> T: array<f32, CHUNK * STRIDE>;
var<workgroup> G: array<f32, CHUNK>;
var<workgroup> beta: array<f32, CHUNK>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let token0 = group.x * CHUNK;
  let count = min(CHUNK, params.tokens - token0);

  if thread < CHUNK {
    var sum = 0.0;
    for (var s = 0u; s <= thread; s++) {
      if s < count {
        sum += gates[((token0 + s) * VALUE_HEADS + head) * 2u];
      }
    }
    G[thread] = sum;
    beta[thread] = 0.0;
    if thread < count {
      beta[thread] = gates[((token0 + thread) * VALUE_HEADS + head) * 2u + 1u];
      sums[(token0 + thread) * VALUE_HEADS + head] = sum;
    }
  }

  // k k^T and q k^T: each thread one row t and every eighth column s.
  let t = thread / 8u;
  let lane = thread % 8u;
  var kk = vec4<f32>();
  var qk_products = vec4<f32>();
  for (var d0 = 0u; d0 < DK; d0 += 32u) {
#repeat i LOADS
    {
      let row = thread / 32u + $iu * 8u;
      let column = thread % 32u;
      let at = (min(token0 + row, params.tokens - 1u) * 2u * KEY_HEADS + key_head) * DK + min(d0 + column, DK - 1u);
      let inside = row < count && d0 + column < DK;
      let q_value = qk[at];
      let k_value = qk[at + KEY_HEADS * DK];
      q_slice[row * STRIDE + column] = select(0.0, q_value, inside);
      k_slice[row * STRIDE + column] = select(0.0, k_value, inside);
    }
#end
    workgroupBarrier();
    for (var d = 0u; d < 32u; d++) {
      let k = vec4<f32>(
        k_slice[lane * STRIDE + d],
        k_slice[(lane + 8u) * STRIDE + d],
        k_slice[(lane + 16u) * STRIDE + d],
        k_slice[(lane + 24u) * STRIDE + d],
      );
      kk += k_slice[t * STRIDE + d] * k;
      qk_products += q_slice[t * STRIDE + d] * k;
    }
    workgroupBarrier();
  }
  for (var j = 0u; j < 4u; j++) {
    let s = lane + 8u * j;
    let decay = exp(min(G[t] - G[s], 0.0));
    A[t * STRIDE + s] = select(0.0, beta[t] * decay * kk[j], s < t);
    m[((group.x * VALUE_HEADS + head) * CHUNK + t) * CHUNK + s] = select(0.0, decay * qk_products[j], s <= t);
  }
  workgroupBarrier();

  // Column c of T depends on column c alone: one thread a column.
  if thread < CHUNK {
    for (var row = 0u; row < CHUNK; row++) {
      var value = select(0.0, 1.0, row == thread);
      for (var s = thread; s < row; s++) {
        value -= A[row * STRIDE + s] * T[s * STRIDE + thread];
      }
      T[row * STRIDE + thread] = value;
    }
  }
  workgroupBarrier();

  // Each thread 4 rows and every 32nd column of [V | K].
  let row0 = (thread / 32u) * 4u;
  for (var d = thread % 32u; d < DV + DK; d += 32u) {
    var sum = vec4<f32>();
    for (var s = 0u; s < count; s++) {
      var value = beta[s];
      if d < DV {
        value *= y[(token0 + s) * (2u * KEY_HEADS * DK + VALUE_HEADS * DV) + 2u * KEY_HEADS * DK + head * DV + d];
      } else {
        value *= exp(G[s]) * qk[((token0 + s) * 2u * KEY_HEADS + KEY_HEADS + key_head) * DK + d - DV];
      }
      sum += value * vec4<f32>(T[row0 * STRIDE + s], T[(row0 + 1u) * STRIDE + s], T[(row0 + 2u) * STRIDE + s], T[(row0 + 3u) * STRIDE + s]);
    }
    for (var r = 0u; r < 4u; r++) {
      if row0 + r < count {
        let row = (token0 + row0 + r) * VALUE_HEADS + head;
        if d < DV {
          uv[row * DV + d] = sum[r];
        } else {
          w[row * DK + d - DV] = sum[r];
        }
      }
    }
  }
}

// Gated delta rule, second rung, step 1 of 3: what each chunk of CHUNK tokens can compute without the state before it (WY form; Yang et al. 2024,
// "Parallelizing Linear Transformers with the Delta Rule", with the gates of Gated Delta Networks). With G_t = g_1 + ... + g_t inside the chunk:
//   A[t,s] = beta_t e^(G_t - G_s) k_t.k_s  for s < t        T = (I + A)^-1, by forward substitution
//   Uv = T diag(beta) V        W = T diag(beta e^G) K        M[t,s] = e^(G_t - G_s) q_t.k_s  for s <= t
// Exponents are differences, never positive: nothing overflows. Tokens beyond the end count as k = 0, beta = 0, g = 0.
// qk, y, gates: as in recurrent.wgsl, DK and DV multiples of 4. Results, for chunk i of this segment: uv: f32 [i, VALUE_HEADS, CHUNK, DV].
// w: f32 [i, VALUE_HEADS, DK, CHUNK] and m: f32 [i, VALUE_HEADS, CHUNK (s), CHUNK (t)], transposed as the next steps read them.
// sums: f32 [i, VALUE_HEADS, CHUNK]: G. All arithmetic in f32. One workgroup: one chunk of one head (x: chunk, y: head), 256 threads.
const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 64u;
const QUADS: u32 = CHUNK / 4u;
const STRIDE: u32 = QUADS + 1u; // in vec4s: one of padding spreads the banks
const SLICE: u32 = 16u;         // dims of q and k at a time
const Y_QUADS: u32 = (2u * KEY_HEADS * DK + VALUE_HEADS * DV) / 4u;

struct Params {
  tokens: u32,
  first: u32, // chunk that this segment begins with
}

@group(0) @binding(0) var<storage, read> qk: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read_write> uv: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> w: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> sums: array<f32>;

// First the slices of k and q, transposed. Then A below the diagonal, row by row, and T transposed on it and above: neither needs the other's half.
var<workgroup> tile: array<vec4<f32>, CHUNK * STRIDE>;
var<workgroup> G: array<f32, CHUNK>;
var<workgroup> g: array<f32, CHUNK>;
var<workgroup> beta: array<f32, CHUNK>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let token0 = (params.first + group.x) * CHUNK;
  let count = min(CHUNK, params.tokens - token0);
  let here = group.x * VALUE_HEADS + head;

  if thread < CHUNK {
    let at = (min(token0 + thread, params.tokens - 1u) * VALUE_HEADS + head) * 2u;
    g[thread] = select(0.0, gates[at], thread < count);
    beta[thread] = select(0.0, gates[at + 1u], thread < count);
  }
  workgroupBarrier();
  if thread < CHUNK {
    var sum = 0.0;
    for (var s = 0u; s <= thread; s++) {
      sum += g[s];
    }
    G[thread] = sum;
    sums[here * CHUNK + thread] = sum;
  }

  // k k^T (rows t) and k q^T (rows s), 4x4 of each a thread.
  let i4 = thread / 16u;
  let j4 = thread % 16u;
#repeat r 4
  var kk_$r = vec4<f32>();
  var kq_$r = vec4<f32>();
#end
  let row = thread % CHUNK;
  for (var d0 = 0u; d0 < DK; d0 += SLICE) {
    // Loads beyond the end repeat the last value and are dropped: behind a branch they would wait for one another.
    let d = d0 + (thread / CHUNK) * 4u;
    let at = ((min(token0 + row, params.tokens - 1u) * 2u * KEY_HEADS + key_head) * DK + min(d, DK - 4u)) / 4u;
    let inside = row < count && d < DK;
    let q_quad = select(vec4<f32>(), qk[at], inside);
    let k_quad = select(vec4<f32>(), qk[at + KEY_HEADS * DK / 4u], inside);
    workgroupBarrier();
#repeat j 4
    tile[(d - d0 + $ju) * STRIDE + row / 4u][row % 4u] = k_quad[$j];
    tile[(SLICE + d - d0 + $ju) * STRIDE + row / 4u][row % 4u] = q_quad[$j];
#end
    workgroupBarrier();
    for (var k = 0u; k < SLICE; k++) {
      let left = tile[k * STRIDE + i4];
      let k_right = tile[k * STRIDE + j4];
      let q_right = tile[(SLICE + k) * STRIDE + j4];
#repeat r 4
      kk_$r += left[$r] * k_right;
      kq_$r += left[$r] * q_right;
#end
    }
  }
  workgroupBarrier();
  let columns = vec4<u32>(0u, 1u, 2u, 3u) + 4u * j4;
  let column_G = vec4<f32>(G[4u * j4], G[4u * j4 + 1u], G[4u * j4 + 2u], G[4u * j4 + 3u]);
#repeat r 4
  {
    let at = 4u * i4 + $ru;
    let difference = vec4<f32>(G[at]) - column_G;
    tile[at * STRIDE + j4] = select(vec4<f32>(), beta[at] * exp(min(difference, vec4<f32>())) * kk_$r, columns < vec4<u32>(at));
    m[(here * CHUNK + at) * QUADS + j4] = select(vec4<f32>(), exp(min(-difference, vec4<f32>())) * kq_$r, columns >= vec4<u32>(at));
  }
#end
  workgroupBarrier();

  // Column c of T depends on column c alone: one thread a column, four rows at a time.
  if thread < CHUNK {
    let c = thread;
    for (var t0 = c & ~31u; t0 < CHUNK; t0 += 4u) {
      var value = select(vec4<f32>(), vec4<f32>(1.0), vec4<u32>(t0, t0 + 1u, t0 + 2u, t0 + 3u) == vec4<u32>(c));
      for (var s = c & ~31u; s < t0; s += 4u) {
        let known = select(vec4<f32>(), tile[c * STRIDE + s / 4u], vec4<u32>(s, s + 1u, s + 2u, s + 3u) >= vec4<u32>(c));
#repeat r 4
        value[$r] -= dot(tile[(t0 + $ru) * STRIDE + s / 4u], known);
#end
      }
      value.y -= tile[(t0 + 1u) * STRIDE + t0 / 4u].x * value.x;
      value.z -= dot(tile[(t0 + 2u) * STRIDE + t0 / 4u].xy, value.xy);
      value.w -= dot(tile[(t0 + 3u) * STRIDE + t0 / 4u].xyz, value.xyz);
#repeat r 4
      if t0 + $ru >= c {
        tile[c * STRIDE + t0 / 4u][$r] = value[$r];
      }
#end
    }
  }
  workgroupBarrier();
  for (var i = thread; i < CHUNK * QUADS; i += 256u) {
    let s = i / QUADS;
    let t = vec4<u32>(0u, 1u, 2u, 3u) + 4u * (i % QUADS);
    let at = s * STRIDE + i % QUADS;
    tile[at] = select(vec4<f32>(), tile[at], t >= vec4<u32>(s));
  }
  workgroupBarrier();

  // 8 rows and 4 columns a thread; T's rows end at the diagonal.
  let t8 = thread / 32u;
  for (var d = (thread % 32u) * 4u; d < DV; d += 128u) {
#repeat r 8
    var sum_$r = vec4<f32>();
#end
    for (var s = 0u; s < 8u * t8 + 8u; s++) {
      let token = min(token0 + s, params.tokens - 1u);
      let value = beta[s] * y[token * Y_QUADS + (2u * KEY_HEADS * DK + head * DV + d) / 4u];
      let low = tile[s * STRIDE + 2u * t8];
      let high = tile[s * STRIDE + 2u * t8 + 1u];
#repeat r 4
      sum_$r += low[$r] * value;
      sum_$[$r + 4] += high[$r] * value;
#end
    }
#repeat r 8
    uv[((here * CHUNK + 8u * t8 + $ru) * DV + d) / 4u] = sum_$r;
#end
  }
  for (var d = (thread % 32u) * 4u; d < DK; d += 128u) {
#repeat r 8
    var sum_$r = vec4<f32>();
#end
    for (var s = 0u; s < 8u * t8 + 8u; s++) {
      let token = min(token0 + s, params.tokens - 1u);
      let value = beta[s] * exp(G[s]) * qk[((token * 2u * KEY_HEADS + KEY_HEADS + key_head) * DK + d) / 4u];
      let low = tile[s * STRIDE + 2u * t8];
      let high = tile[s * STRIDE + 2u * t8 + 1u];
#repeat r 4
      sum_$r += low[$r] * value;
      sum_$[$r + 4] += high[$r] * value;
#end
    }
#repeat j 4
    w[(here * DK + d + $ju) * QUADS + 2u * t8] = vec4<f32>(sum_0[$j], sum_1[$j], sum_2[$j], sum_3[$j]);
    w[(here * DK + d + $ju) * QUADS + 2u * t8 + 1u] = vec4<f32>(sum_4[$j], sum_5[$j], sum_6[$j], sum_7[$j]);
#end
  }
}

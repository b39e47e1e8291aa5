// Gated delta rule on subgroup matrices, its inputs: prepare.wgsl with q and k in f16, for the chunks of a segment. q keeps unit length: its factor
// 1/sqrt(DK) would cost digits and is applied later. Tokens beyond the end are zero.
// y: f16, else as there; projection, A_log, dt_bias: as there, DK = 128. q: f16 [chunks * CHUNK/16, KEY_HEADS, DK/16, 16, 16]: blocks, which subgroups read whole.
// k: f16 [chunks * CHUNK, KEY_HEADS, DK]. kt: f16 [chunks, KEY_HEADS, DK/16, CHUNK/16, 16, 16]: blocks of K^T.
// gates: f32 [chunks * CHUNK, VALUE_HEADS, 2]: g, beta. One workgroup: 16 tokens of one key head (x: tokens, y: head), 128 threads.
#include "common/sigmoid.wgsl"

const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 64u;
const RATIO: u32 = VALUE_HEADS / KEY_HEADS;
const Y_EIGHTHS: u32 = (2u * KEY_HEADS * DK + VALUE_HEADS * DV) / 8u;
const THREADS: u32 = 128u;
const STRIDE: u32 = DK + 1u;

struct Params {
  tokens: u32,
  first: u32, // chunk that this segment begins with
  stride: u32,
  b: u32,
  a: u32,
}

@group(0) @binding(0) var<storage, read> y: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> projection: array<f32>;
@group(0) @binding(2) var<storage, read> A_log: array<f32>;
@group(0) @binding(3) var<storage, read> dt_bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> q: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> k: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> kt: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> gates: array<f32>;

var<workgroup> partial: array<vec2<f32>, THREADS>;
var<workgroup> k_tile: array<f32, 16u * STRIDE>;

fn narrow(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let key_head = group.y;
  let row = thread / 8u;
  let lane = thread % 8u; // has dims 8 * lane to 8 * lane + 7, and those 64 further
  let local = group.x * 16u + row;
  let token = params.first * CHUNK + local;
  let inside = token < params.tokens;
  let base = min(token, params.tokens - 1u) * Y_EIGHTHS + key_head * (DK / 8u) + lane;
  var squares = vec2<f32>();
#repeat h 2
  let q_words_$h = y[base + $hu * 8u];
  let k_words_$h = y[base + (KEY_HEADS * DK / 8u) + $hu * 8u];
#repeat j 2
  let q_$h_$j = vec4<f32>(unpack2x16float(q_words_$h[$[2 * $j]]), unpack2x16float(q_words_$h[$[2 * $j + 1]]));
  let k_$h_$j = vec4<f32>(unpack2x16float(k_words_$h[$[2 * $j]]), unpack2x16float(k_words_$h[$[2 * $j + 1]]));
  squares += vec2<f32>(dot(q_$h_$j, q_$h_$j), dot(k_$h_$j, k_$h_$j));
#end
#end
  partial[thread] = squares;
  workgroupBarrier();
  squares = vec2<f32>();
  for (var i = 0u; i < 8u; i++) {
    squares += partial[thread - lane + i];
  }
  let scale = select(vec2<f32>(), inverseSqrt(squares + 1e-6), inside);
  let q_at = ((group.x * KEY_HEADS + key_head) * (DK / 16u) + lane / 2u) * 32u + row * 2u + lane % 2u;
  let k_at = (local * KEY_HEADS + key_head) * (DK / 8u) + lane;
#repeat h 2
  q[q_at + $hu * 4u * 32u] = narrow(scale.x * q_$h_0, scale.x * q_$h_1);
  k[k_at + $hu * 8u] = narrow(scale.y * k_$h_0, scale.y * k_$h_1);
#repeat j 2
#repeat i 4
  k_tile[row * STRIDE + $hu * 64u + 8u * lane + 4u * $ju + $iu] = scale.y * k_$h_$j[$i];
#end
#end
#end
  workgroupBarrier();
#repeat h 2
  kt[(((group.x / 4u * KEY_HEADS + key_head) * (DK / 16u) + thread / 16u) * 4u + group.x % 4u) * 32u + (thread % 16u) * 2u + $hu] = vec4<u32>(
#repeat j 4
    pack2x16float(vec2<f32>(k_tile[$[8 * $h + 2 * $j] * STRIDE + thread], k_tile[$[8 * $h + 2 * $j + 1] * STRIDE + thread])),
#end
  );
#end

  for (var i = thread; i < 16u * RATIO; i += THREADS) {
    let h = key_head * RATIO + i % RATIO;
    let gate_row = group.x * 16u + i / RATIO;
    let gate_token = params.first * CHUNK + gate_row;
    let from_row = min(gate_token, params.tokens - 1u) * params.stride;
    let g = -exp(A_log[h]) * softplus(projection[from_row + params.a + h] + dt_bias[h]);
    let beta = sigmoid(projection[from_row + params.b + h]);
    gates[(gate_row * VALUE_HEADS + h) * 2u] = select(0.0, g, gate_token < params.tokens);
    gates[(gate_row * VALUE_HEADS + h) * 2u + 1u] = select(0.0, beta, gate_token < params.tokens);
  }
}

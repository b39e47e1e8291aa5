// Gated delta rule, first rung: token by token, as it is defined (Yang, Kautz and Hatamizadeh 2024, Gated Delta Networks). Per value head:
//   S <- exp(g) S;   u = beta (v - S^T k);   S <- S + k u^T;   o = S^T q
// qk: f32 [T, 2*KEY_HEADS, DK] (q heads, then k heads). y: f32 [T, 2*KEY_HEADS*DK + VALUE_HEADS*DV]: v in its last columns. gates: f32 [T, VALUE_HEADS, 2]:
// g, beta. state: f32 [VALUE_HEADS, DK, DV], updated in place. o: f32 [T, VALUE_HEADS, DV]. Value head h reads key head h / (VALUE_HEADS / KEY_HEADS).
// One workgroup: COLUMNS columns of one head's state (y: head, x: columns), held in registers for all tokens, DK split over PARTS threads a column.
const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const COLUMNS: u32 = 32u;
const PARTS: u32 = 4u;
const ROWS: u32 = (DK + PARTS - 1u) / PARTS;

struct Params {
  tokens: u32,
}

@group(0) @binding(0) var<storage, read> qk: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;
@group(0) @binding(4) var<storage, read_write> o: array<f32>;

var<workgroup> q: array<f32, DK>;
var<workgroup> k: array<f32, DK>;
var<workgroup> predicted: array<f32, COLUMNS * PARTS>;
var<workgroup> output: array<f32, COLUMNS * PARTS>;

@compute @workgroup_size(COLUMNS * PARTS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let column = thread % COLUMNS;
  let part = thread / COLUMNS;
  let c = group.x * COLUMNS + column;
  let inside = c < DV;
  let base = head * DK * DV + c;

  var S = array<f32, ROWS>();
  for (var j = 0u; j < ROWS; j++) {
    let i = part * ROWS + j;
    if inside && i < DK {
      S[j] = state[base + i * DV];
    }
  }
  for (var t = 0u; t < params.tokens; t++) {
    for (var i = thread; i < DK; i += COLUMNS * PARTS) {
      q[i] = qk[(t * 2u * KEY_HEADS + key_head) * DK + i];
      k[i] = qk[(t * 2u * KEY_HEADS + KEY_HEADS + key_head) * DK + i];
    }
    workgroupBarrier();
    let decay = exp(gates[(t * VALUE_HEADS + head) * 2u]);
    let beta = gates[(t * VALUE_HEADS + head) * 2u + 1u];
    var sum = 0.0;
    for (var j = 0u; j < ROWS; j++) {
      let i = part * ROWS + j;
      if i < DK {
        S[j] *= decay;
        sum += S[j] * k[i];
      }
    }
    predicted[thread] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var p = 0u; p < PARTS; p++) {
      sum += predicted[p * COLUMNS + column];
    }
    var v = 0.0;
    if inside {
      v = y[t * (2u * KEY_HEADS * DK + VALUE_HEADS * DV) + 2u * KEY_HEADS * DK + head * DV + c];
    }
    let u = beta * (v - sum);
    sum = 0.0;
    for (var j = 0u; j < ROWS; j++) {
      let i = part * ROWS + j;
      if i < DK {
        S[j] += k[i] * u;
        sum += S[j] * q[i];
      }
    }
    output[thread] = sum;
    workgroupBarrier();
    if part == 0u && inside {
      sum = 0.0;
      for (var p = 0u; p < PARTS; p++) {
        sum += output[p * COLUMNS + column];
      }
      o[(t * VALUE_HEADS + head) * DV + c] = sum;
    }
  }
  for (var j = 0u; j < ROWS; j++) {
    let i = part * ROWS + j;
    if inside && i < DK {
      state[base + i * DV] = S[j];
    }
  }
}

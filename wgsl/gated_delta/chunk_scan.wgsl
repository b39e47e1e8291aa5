// Gated delta rule, second rung, step 2 of 2: chunk after chunk with the state. For every chunk, from what chunk_local.wgsl left:
//   U = Uv - W S        O = diag(e^G) Q S + M U        S <- e^(G_C) S + (diag(e^(G_C - G)) K)^T U
// qk: f32 [T, 2*KEY_HEADS, DK]. uv: f32 [T, VALUE_HEADS, DV]. w: f32 [T, VALUE_HEADS, DK]. m: f32 [chunks, VALUE_HEADS, CHUNK, CHUNK]. sums: f32 [T, VALUE_HEADS].
// state: f32 [VALUE_HEADS, DK, DV], updated in place. o: f32 [T, VALUE_HEADS, DV]. All arithmetic in f32.
// One workgroup: COLUMNS columns of one head's state in workgroup memory (x: columns, y: head), 256 threads; products of [CHUNK, ...] x [..., COLUMNS] with
// 4 rows a thread, the left operand staged in slices of 32.
const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 32u;
const COLUMNS: u32 = 32u;
const STRIDE: u32 = 33u;
// Values of a slice that each thread brings in. Loads beyond the end repeat the last value and are dropped: behind a branch they would wait for one another.
const LOADS: u32 = 4u;

struct Params {
  tokens: u32,
}

@group(0) @binding(0) var<storage, read> qk: array<f32>;
@group(0) @binding(1) var<storage, read> uv: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> m: array<f32>;
@group(0) @binding(4) var<storage, read> sums: array<f32>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
@group(0) @binding(6) var<storage, read_write> o: array<f32>;

var<workgroup> S: array<f32, DK * COLUMNS>;
var<workgroup> U: array<f32, CHUNK * COLUMNS>;
var<workgroup> w_slice: array<f32, CHUNK * STRIDE>;
var<workgroup> q_slice: array<f32, CHUNK * STRIDE>;
var<workgroup> G: array<f32, CHUNK>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let column = thread % COLUMNS;
  let c = group.x * COLUMNS + column;
  let row0 = (thread / COLUMNS) * 4u;
  let slice_row = thread / 32u;
  let slice_column = thread % 32u;

  for (var i = thread / COLUMNS; i < DK; i += 8u) {
    S[i * COLUMNS + column] = 0.0;
    if c < DV {
      S[i * COLUMNS + column] = state[(head * DK + i) * DV + c];
    }
  }
  for (var token0 = 0u; token0 < params.tokens; token0 += CHUNK) {
    let count = min(CHUNK, params.tokens - token0);
    if thread < CHUNK {
      // Beyond the end the sum stays what it was: g = 0 there.
      G[thread] = sums[(token0 + min(thread, count - 1u)) * VALUE_HEADS + head];
    }
    var ws = vec4<f32>();
    var qs = vec4<f32>();
    for (var d0 = 0u; d0 < DK; d0 += 32u) {
      workgroupBarrier();
#repeat i LOADS
      {
        let row = slice_row + $iu * 8u;
        let token = min(token0 + row, params.tokens - 1u);
        let d = min(d0 + slice_column, DK - 1u);
        let inside = row < count && d0 + slice_column < DK;
        let w_value = w[(token * VALUE_HEADS + head) * DK + d];
        let q_value = qk[(token * 2u * KEY_HEADS + key_head) * DK + d];
        w_slice[row * STRIDE + slice_column] = select(0.0, w_value, inside);
        q_slice[row * STRIDE + slice_column] = select(0.0, q_value, inside);
      }
#end
      workgroupBarrier();
      for (var d = 0u; d < min(32u, DK - d0); d++) {
        let s = S[(d0 + d) * COLUMNS + column];
        for (var r = 0u; r < 4u; r++) {
          ws[r] += w_slice[(row0 + r) * STRIDE + d] * s;
          qs[r] += q_slice[(row0 + r) * STRIDE + d] * s;
        }
      }
    }
#repeat r LOADS
    {
      let token = min(token0 + row0 + $ru, params.tokens - 1u);
      let u = uv[(token * VALUE_HEADS + head) * DV + min(c, DV - 1u)] - ws[$r];
      U[(row0 + $ru) * COLUMNS + column] = select(0.0, u, row0 + $ru < count && c < DV);
    }
#end
    workgroupBarrier();
    // M takes the place of the slice of w.
    for (var i = thread; i < CHUNK * CHUNK; i += 256u) {
      w_slice[(i / CHUNK) * STRIDE + i % CHUNK] = m[((token0 / CHUNK) * VALUE_HEADS + head) * CHUNK * CHUNK + i];
    }
    workgroupBarrier();
    for (var r = 0u; r < 4u; r++) {
      let row = row0 + r;
      var value = exp(G[row]) * qs[r];
      for (var s = 0u; s <= row; s++) {
        value += w_slice[row * STRIDE + s] * U[s * COLUMNS + column];
      }
      if row < count && c < DV {
        o[((token0 + row) * VALUE_HEADS + head) * DV + c] = value;
      }
    }
    // K in slices of 32 dims, scaled: each thread updates every eighth row of S.
    let last = G[CHUNK - 1u];
    for (var d0 = 0u; d0 < DK; d0 += 32u) {
      workgroupBarrier();
#repeat i LOADS
      {
        let row = slice_row + $iu * 8u;
        let token = min(token0 + row, params.tokens - 1u);
        let d = min(d0 + slice_column, DK - 1u);
        let k_value = exp(last - G[row]) * qk[(token * 2u * KEY_HEADS + KEY_HEADS + key_head) * DK + d];
        q_slice[row * STRIDE + slice_column] = select(0.0, k_value, row < count && d0 + slice_column < DK);
      }
#end
      workgroupBarrier();
      // Rows d, d + 8, d + 16, d + 24 of the slice: one read of U serves four products.
      var added = vec4<f32>();
      for (var s = 0u; s < count; s++) {
        let at = s * STRIDE + slice_row;
        added += U[s * COLUMNS + column] * vec4<f32>(q_slice[at], q_slice[at + 8u], q_slice[at + 16u], q_slice[at + 24u]);
      }
#repeat r LOADS
      if d0 + slice_row + $ru * 8u < DK {
        let at = (d0 + slice_row + $ru * 8u) * COLUMNS + column;
        S[at] = exp(last) * S[at] + added[$r];
      }
#end
    }
    workgroupBarrier();
  }
  for (var i = thread / COLUMNS; i < DK; i += 8u) {
    if c < DV {
      state[(head * DK + i) * DV + c] = S[i * COLUMNS + column];
    }
  }
}

// Attention for one query (decoding), step 2 of 2: joins what the splits of decode_body.wgsl found.
//   out[h, d] = sum_i exp(m_i - m) partial[i, h, d] / sum_i exp(m_i - m) l_i,  m = max_i m_i
// With GATED, times sigmoid(gate[h, d]), element (h, d) of the gate at params.gate_offset + h * params.gate_head + d.
// partial: f32 [splits, heads, DIM + 2], the last two of a row m_i and l_i. out: [heads, DIM] f32 or f16. gate: f32.
// cursor: u32, only with AT_CURSOR: there are as many splits as CHUNK keys each for the tokens that cursor[0] says were seen and one more.
// One workgroup: 2 * THREADS dims of one head (x: head, y: dims), two a thread.
#include "common/dtype.wgsl"
#include "common/sigmoid.wgsl"

const DIM: u32 = 64u;
const OUT_F16: bool = false;
const AT_CURSOR: bool = false;
const GATED: bool = false;
const CHUNK: u32 = 64u;
const THREADS: u32 = 64u;
const VALUES: u32 = 8u; // splits that a thread has in flight

struct Params {
  heads: u32,
  splits: u32,
  gate_offset: u32,
  gate_head: u32,
}

@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read> cursor: array<u32>;
@group(0) @binding(3) var<storage, read> gate: array<f32>;

// Of the splits that a thread looked at: maximum score and sum of exponentials.
var<workgroup> found: array<vec2<f32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.x;
  let d = 2u * (group.y * THREADS + thread);
  let d_read = min(d, DIM - 2u);
  var splits = params.splits;
  if AT_CURSOR {
    splits = cursor[0] / CHUNK + 1u;
  }
  var own = vec2<f32>(-3.0e38, 0.0);
  for (var i = thread; i < splits; i += THREADS) {
    let at = (i * params.heads + head) * (DIM + 2u) + DIM;
    let m = max(own.x, partial[at]);
    own = vec2<f32>(m, exp(own.x - m) * own.y + exp(partial[at] - m) * partial[at + 1u]);
  }
  found[thread] = own;
  workgroupBarrier();
  let finds = min(THREADS, splits);
  var largest = found[0].x;
  for (var i = 1u; i < finds; i++) {
    largest = max(largest, found[i].x);
  }
  var total = 0.0;
  for (var i = 0u; i < finds; i++) {
    total += exp(found[i].x - largest) * found[i].y;
  }

  var sum = vec2<f32>();
  for (var i = 0u; i < splits; i += VALUES) {
    // Splits beyond the end read the last one and count for nothing: behind branches the loads would wait for one another.
#repeat j VALUES
    let row_$j = (min(i + $ju, splits - 1u) * params.heads + head) * (DIM + 2u);
    let value_$j = vec2<f32>(partial[row_$j + d_read], partial[row_$j + d_read + 1u]);
    let largest_$j = partial[row_$j + DIM];
#end
#repeat j VALUES
    sum += select(0.0, exp(largest_$j - largest), i + $ju < splits) * value_$j;
#end
  }
  if d >= DIM {
    return;
  }
  sum /= total;
  if GATED {
    let at = params.gate_offset + head * params.gate_head + d;
    sum *= vec2<f32>(sigmoid(gate[at]), sigmoid(gate[at + 1u]));
  }
  let at = head * DIM + d;
  if OUT_F16 {
    out[at >> 1u] = narrow_pair(sum.x, sum.y);
  } else {
    out[at] = bitcast<u32>(sum.x);
    out[at + 1u] = bitcast<u32>(sum.y);
  }
}

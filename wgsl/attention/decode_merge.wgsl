// Attention for one query (decoding), step 2 of 2: joins what the splits of step 1 found (decode_body.wgsl, decode_step_subgroups.wgsl).
//   out[h, d] = sum_i exp(m_i - m) partial[i, h, d] / sum_i exp(m_i - m) l_i,  m = max_i m_i
// With GATED, times sigmoid(gate[h, d]), element (h, d) of the gate at params.gate_offset + h * params.gate_head + d.
// partial: f32 [splits, heads, DIM + 2], the last two of a row m_i and l_i. out: [heads, DIM] f32 or f16. gate: f32.
// cursor: u32, only with AT_CURSOR: there are as many splits as params.chunk keys each for the tokens that cursor[0] says were seen and one more.
// One workgroup: 2 * PAIRS dims of one head (x: head, y: dims), two a thread, of every PARTS-th split.
#include "common/dtype.wgsl"
#include "common/sigmoid.wgsl"

const DIM: u32 = 64u;
const OUT_F16: bool = false;
const AT_CURSOR: bool = false;
const GATED: bool = false;
const PAIRS: u32 = 16u;
const PARTS: u32 = 16u;
const VALUES: u32 = 4u; // splits that a thread has in flight
const LEAST: f32 = -3.0e38;

struct Params {
  heads: u32,
  splits: u32,
  chunk: u32,
  gate_offset: u32,
  gate_head: u32,
}

@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read> cursor: array<u32>;
@group(0) @binding(3) var<storage, read> gate: array<f32>;

// Of every part: two sums, then maximum score and sum of exponentials of its splits.
var<workgroup> sums: array<vec4<f32>, PAIRS * PARTS>;

@compute @workgroup_size(PAIRS * PARTS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.x;
  let d = 2u * (group.y * PAIRS + thread % PAIRS);
  let d_read = min(d, DIM - 2u);
  let part = thread / PAIRS;
  var splits = params.splits;
  if AT_CURSOR {
    splits = cursor[0] / params.chunk + 1u;
  }

  var sum = vec2<f32>();
  var most = LEAST;
  var total = 0.0;
  for (var i = part; i < splits; i += VALUES * PARTS) {
    // Splits beyond the end read the last one and count for nothing: behind branches the loads would wait for one another.
    var more = most;
#repeat j VALUES
    let row_$j = (min(i + $ju * PARTS, splits - 1u) * params.heads + head) * (DIM + 2u);
    let value_$j = vec2<f32>(partial[row_$j + d_read], partial[row_$j + d_read + 1u]);
    let most_$j = select(LEAST, partial[row_$j + DIM], i + $ju * PARTS < splits);
    let total_$j = partial[row_$j + DIM + 1u];
#end
#repeat j VALUES
    more = max(more, most_$j);
#end
    let shrink = exp(most - more);
    sum *= shrink;
    total *= shrink;
    most = more;
#repeat j VALUES
    let weight_$j = exp(most_$j - more);
    sum += weight_$j * value_$j;
    total += weight_$j * total_$j;
#end
  }
  if GATED {
    let at = params.gate_offset + head * params.gate_head + d_read;
    sum *= vec2<f32>(sigmoid(gate[at]), sigmoid(gate[at + 1u]));
  }
  sums[thread] = vec4<f32>(sum, most, total);
  workgroupBarrier();
  if part > 0u || d >= DIM {
    return;
  }
  for (var p = 1u; p < min(PARTS, splits); p++) {
    most = max(most, sums[p * PAIRS + thread].z);
  }
  var all = vec3<f32>();
  for (var p = 0u; p < min(PARTS, splits); p++) {
    let found = sums[p * PAIRS + thread];
    all += exp(found.z - most) * found.xyw;
  }
  let at = head * DIM + d;
  if OUT_F16 {
    out[at >> 1u] = narrow_pair(all.x / all.z, all.y / all.z);
  } else {
    out[at] = bitcast<u32>(all.x / all.z);
    out[at + 1u] = bitcast<u32>(all.y / all.z);
  }
}

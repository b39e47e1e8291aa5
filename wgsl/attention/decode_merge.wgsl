// Attention for one query (decoding), step 2 of 2: joins what the splits of decode_split.wgsl found.
//   out[h, d] = sum_i exp(m_i - m) partial[i, h, d] / sum_i exp(m_i - m) l_i,  m = max_i m_i
// partial: f32 [splits, heads, DIM]. stats: f32 [splits, heads, 2]: m_i, l_i. out: [heads, DIM] f32 or f16.
// cursor: u32, only with AT_CURSOR: there are as many splits as CHUNK keys each for the tokens that cursor[0] says were seen and one more.
// One workgroup: one head, 128 threads.
#include "common/dtype.wgsl"

const DIM: u32 = 64u;
const OUT_F16: bool = false;
const AT_CURSOR: bool = false;
const CHUNK: u32 = 64u;
const THREADS: u32 = 128u;

struct Params {
  heads: u32,
  splits: u32,
}

@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
@group(0) @binding(3) var<storage, read> cursor: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.x;
  var splits = params.splits;
  if AT_CURSOR {
    splits = cursor[0] / CHUNK + 1u;
  }
  var largest = -3.0e38;
  for (var i = 0u; i < splits; i++) {
    largest = max(largest, stats[(i * params.heads + head) * 2u]);
  }
  var total = 0.0;
  for (var i = 0u; i < splits; i++) {
    let at = (i * params.heads + head) * 2u;
    total += exp(stats[at] - largest) * stats[at + 1u];
  }
  for (var d = 2u * thread; d < DIM; d += 2u * THREADS) {
    var sum = vec2<f32>();
    for (var i = 0u; i < splits; i++) {
      let at = i * params.heads + head;
      sum += exp(stats[at * 2u] - largest) * vec2<f32>(partial[at * DIM + d], partial[at * DIM + d + 1u]);
    }
    sum /= total;
    let at = head * DIM + d;
    if OUT_F16 {
      out[at >> 1u] = narrow_pair(sum.x, sum.y);
    } else {
      out[at] = bitcast<u32>(sum.x);
      out[at + 1u] = bitcast<u32>(sum.y);
    }
  }
}

// Attention, first rung, step 3 of 3: out[t, h, d] = sum_s scores[i, h, s] * v[s, g, d] for the query rows t = first + i, i < count.
// Operands: operands.wgsl. scores: f32 [count, heads, key_tokens]. out: [T, heads, DIM] f32 or f16.
// One thread per two neighbouring outputs.
#include "attention/operands.wgsl"
#include "common/grid.wgsl"

@group(0) @binding(3) var<storage, read> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = (line_index(group, groups) * 64u + thread) * 2u;
  if i >= params.count * params.heads * DIM {
    return;
  }
  let d = i % DIM;
  let head = (i / DIM) % params.heads;
  let row = i / (DIM * params.heads);
  let segment = (params.first + row) / params.query_tokens;
  let base = (row * params.heads + head) * params.key_tokens;
  var sum = vec2<f32>();
  for (var s = 0u; s < params.key_tokens; s++) {
    let token = segment * params.key_tokens + s;
    sum += scores[base + s] * vec2<f32>(load_v(token, kv_head(head), d), load_v(token, kv_head(head), d + 1u));
  }
  let at = params.first * params.heads * DIM + i;
  if OUT_F16 {
    out[at >> 1u] = narrow_pair(sum.x, sum.y);
  } else {
    out[at] = bitcast<u32>(sum.x);
    out[at + 1u] = bitcast<u32>(sum.y);
  }
}

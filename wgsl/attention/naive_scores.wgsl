// Attention, first rung, step 1 of 3: scores[i, h, s] = scale * q[t, h] . k[s, g] for the query rows t = first + i, i < count; -inf where masked.
// Every query row belongs to the segment row / query_tokens. Operands: operands.wgsl. scores: f32 [count, heads, key_tokens].
// One thread per score.
#include "attention/operands.wgsl"
#include "common/grid.wgsl"

@group(0) @binding(3) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = line_index(group, groups) * 64u + thread;
  if i >= params.count * params.heads * params.key_tokens {
    return;
  }
  let s = i % params.key_tokens;
  let head = (i / params.key_tokens) % params.heads;
  let row = params.first + i / (params.key_tokens * params.heads);
  let segment = row / params.query_tokens;
  if s >= visible_keys(row % params.query_tokens) {
    scores[i] = -3.0e38;
    return;
  }
  var sum = 0.0;
  for (var d = 0u; d < DIM; d++) {
    sum += load_q(row, head, d) * load_k(segment * params.key_tokens + s, kv_head(head), d);
  }
  scores[i] = sum * params.scale;
}

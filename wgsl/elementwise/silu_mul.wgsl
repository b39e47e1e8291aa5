// y[t, f] = scale * silu(gate_up[t, f]) * gate_up[t, dim + f]
//
// gate_up  [tokens, 2 * dim]  f32: the gate's columns, then the up projection's
// y        [tokens, dim]      f32 or f16 (OUT_F16; dim even then), saturating in f16
// Everything is computed in f32. One thread writes one word of y.
// Source: Shazeer, GLU Variants Improve Transformer, 2020 (SwiGLU).
#include "common/dtype.wgsl"
#include "common/grid.wgsl"
#include "common/sigmoid.wgsl"

const OUT_F16: bool = false;

struct Params {
  tokens: u32,
  dim: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> gate_up: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

fn product(i: u32) -> f32 {
  let gate = i / params.dim * 2u * params.dim + i % params.dim;
  return params.scale * silu(gate_up[gate]) * gate_up[gate + params.dim];
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = line_index(workgroup, counts) * 256u + thread;
  let count = params.tokens * params.dim;
  if OUT_F16 {
    if word < count / 2u {
      y[word] = narrow_pair(product(2u * word), product(2u * word + 1u));
    }
  } else if word < count {
    y[word] = bitcast<u32>(product(word));
  }
}

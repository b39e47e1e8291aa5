// y = x in another dtype
//
// x  [count]  f32, f16 or bf16 (IN_DTYPE)
// y  [count]  f32 or f16 (OUT_F16; count even then), saturating in f16
// One thread writes one word of y.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const IN_DTYPE: u32 = 0u;
const OUT_F16: bool = false;

struct Params {
  count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

fn value(i: u32) -> f32 {
  return element(x[word_of(i, IN_DTYPE)], i, IN_DTYPE);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = line_index(workgroup, counts) * 256u + thread;
  if OUT_F16 {
    if word < params.count / 2u {
      y[word] = narrow_pair(value(2u * word), value(2u * word + 1u));
    }
  } else if word < params.count {
    y[word] = bitcast<u32>(value(word));
  }
}

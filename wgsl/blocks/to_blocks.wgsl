// y = x, in rows, as f16 in blocks (common/blocks.wgsl), saturating.
//
// x  [rows, columns]  f32, f16 or bf16 (X_DTYPE), columns a multiple of 8
// y  [rows, columns]  f16_blocks
// One thread makes 16 bytes; neighbours write neighbours.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const X_DTYPE: u32 = 1u;

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;

// Two neighbours as f16, from two words of f32 or a word of bf16.
fn narrow_f32(words: vec2<u32>) -> u32 {
  let values = bitcast<vec2<f32>>(words);
  return narrow_pair(values.x, values.y);
}

fn narrow_bf16(word: u32) -> u32 {
  let values = widen_pair(word, DTYPE_BF16);
  return narrow_pair(values.x, values.y);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = line_index(workgroup, counts) * 256u + thread;
  let eighths = params.columns / 8u;
  let block = at / 16u;
  let row = block / eighths * 16u + at % 16u;
  if row >= params.rows {
    return;
  }
  let place = row * eighths + block % eighths;
  if X_DTYPE == DTYPE_F16 {
    y[at] = x[place];
  } else if X_DTYPE == DTYPE_BF16 {
    let words = x[place];
    y[at] = vec4<u32>(narrow_bf16(words.x), narrow_bf16(words.y), narrow_bf16(words.z), narrow_bf16(words.w));
  } else {
    let low = x[2u * place];
    let high = x[2u * place + 1u];
    y[at] = vec4<u32>(narrow_f32(low.xy), narrow_f32(low.zw), narrow_f32(high.xy), narrow_f32(high.zw));
  }
}

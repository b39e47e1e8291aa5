// y = x, in rows, as f16 in blocks (common/blocks.wgsl), saturating.
//
// x  [rows, columns]  f32, f16 or bf16 (X_DTYPE), columns a multiple of 8
// y  [rows, columns]  f16_blocks
// One workgroup: 16 rows by 128 columns, which change places in workgroup memory, so that neighbours read neighbours of a row and write neighbours of a block.
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

// Eight columns of a row.
fn narrow_piece(place: u32) -> vec4<u32> {
  if X_DTYPE == DTYPE_F16 {
    return x[place];
  }
  if X_DTYPE == DTYPE_BF16 {
    let words = x[place];
    return vec4<u32>(narrow_bf16(words.x), narrow_bf16(words.y), narrow_bf16(words.z), narrow_bf16(words.w));
  }
  let low = x[2u * place];
  let high = x[2u * place + 1u];
  return vec4<u32>(narrow_f32(low.xy), narrow_f32(low.zw), narrow_f32(high.xy), narrow_f32(high.zw));
}

const STRIDE: u32 = 17u; // of a row of 16 pieces; one of padding spreads the banks
var<workgroup> pieces: array<vec4<u32>, 16u * STRIDE>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let eighths = params.columns / 8u;
  let across = (eighths + 15u) / 16u;
  let index = line_index(workgroup, counts);
  let row = index / across * 16u + thread / 16u;
  let first = index % across * 16u;
  if row < params.rows && first + thread % 16u < eighths {
    pieces[thread / 16u * STRIDE + thread % 16u] = narrow_piece(row * eighths + first + thread % 16u);
  }
  workgroupBarrier();
  let eighth = first + thread / 16u;
  if eighth < eighths && index / across * 16u < params.rows {
    y[(index / across * eighths + eighth) * 16u + thread % 16u] = pieces[thread % 16u * STRIDE + thread / 16u];
  }
}

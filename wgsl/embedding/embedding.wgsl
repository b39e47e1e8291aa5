// y[t] = table[ids[t]], zeros where the id is outside of [0, vocabulary)
//
// ids    [tokens]             i32
// table  [range_count, dim]   f32, f16 or bf16 (TABLE_DTYPE): rows range_start.. of the whole table [vocabulary, dim]
// y      [tokens, dim]        f32, exact
// A table that is too large to bind comes in ranges, one dispatch each: a dispatch writes only the tokens whose row it holds, and the
// one of the first range the zeros. One thread writes one element.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const TABLE_DTYPE: u32 = 0u;

struct Params {
  tokens: u32,
  dim: u32,
  vocabulary: u32,
  range_start: u32,
  range_count: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = line_index(workgroup, counts) * 256u + thread;
  if i >= params.tokens * params.dim {
    return;
  }
  let id = ids[i / params.dim]; // read as unsigned, a negative id is larger than any vocabulary
  let row = id - params.range_start;
  if id >= params.range_start && row < params.range_count {
    let source = row * params.dim + i % params.dim;
    y[i] = element(table[word_of(source, TABLE_DTYPE)], source, TABLE_DTYPE);
  } else if params.range_start == 0u && id >= params.vocabulary {
    y[i] = 0.0;
  }
}

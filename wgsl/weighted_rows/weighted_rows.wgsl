// y[i] = sum over k of weights[i, k] * table[index[i, k]] (+ addend[i] if HAS_ADDEND)
//
// table    [rows, dim]      f32, f16 or bf16 (TABLE_DTYPE)
// index    [count, terms]   i32; a term whose index is outside of [0, rows) counts as zero
// weights  [count, terms]   f32
// addend   [count, dim]     f32; anything may be bound where HAS_ADDEND is false
// y        [count, dim]     f32, summed in f32
// With four terms: bilinear interpolation of a grid of embeddings. One thread writes one element.
#include "common/dtype.wgsl"
#include "common/grid.wgsl"

const TABLE_DTYPE: u32 = 0u;
const HAS_ADDEND: bool = false;

struct Params {
  rows: u32,
  dim: u32,
  count: u32,
  terms: u32,
}

@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> addend: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = line_index(workgroup, counts) * 256u + thread;
  if i >= params.count * params.dim {
    return;
  }
  let first = i / params.dim * params.terms;
  var sum = 0.0;
  for (var k = first; k < first + params.terms; k++) {
    let row = index[k]; // read as unsigned, a negative index is larger than any row
    if row < params.rows {
      let source = row * params.dim + i % params.dim;
      sum += weights[k] * element(table[word_of(source, TABLE_DTYPE)], source, TABLE_DTYPE);
    }
  }
  if HAS_ADDEND {
    sum += addend[i];
  }
  y[i] = sum;
}

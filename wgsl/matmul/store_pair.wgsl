// How most matmul variants end: a thread completes the products of two neighbouring columns and stores them, f16 ones as one word.
// residual: f32 [M, N]. out: [M, N], f32 or f16. Formula and the other operands: epilogue.wgsl.
#include "matmul/epilogue.wgsl"

const EARLY_RESIDUAL: bool = false; // it was read before the product, into early_residual: matvec_body.wgsl

@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<u32>;

// Of the two neighbouring columns that a thread stores.
var<private> early_residual: vec2<f32>;
// Where row 0 is stored: workgroups that share the K of a tile (register.wgsl) each have rows of their own in out.
var<private> out_row0: u32;

fn residual_at(row: u32, column: u32) -> f32 {
  if HAS_RESIDUAL {
    if EARLY_RESIDUAL {
      return early_residual[(column - params.column0) % 2u];
    }
    return select(0.0, residual[select(0u, row * params.columns + column, has(PART_RESIDUAL))], has(PART_RESIDUAL));
  }
  return 0.0;
}

fn finish(row: u32, column: u32, product: f32) -> f32 {
  return complete(product, bias_at(column), gamma_at(column), residual_at(row, column));
}

// Stores the products of two neighbouring columns, of which the first is even and the second may lie beyond the end.
fn store_pair(row: u32, local_column: u32, first: f32, second: f32) {
  if row >= params.M || local_column >= params.N {
    return;
  }
  let column = params.column0 + local_column;
  let at = (out_row0 + row) * params.columns + column;
  let a = finish(row, column, first);
  if OUT_F16 {
    out[at >> 1u] = narrow_pair(a, finish(row, column + 1u, second));
    return;
  }
  out[at] = bitcast<u32>(a);
  if local_column + 1u < params.N {
    out[at + 1u] = bitcast<u32>(finish(row, column + 1u, second));
  }
}

// The end that all matmul variants share: what happens to an accumulated product before it is stored.
//   value = residual + gamma * activation(params.scale * value + bias)      each part only if its constant says so
// bias, gamma: f32 [N]. residual: f32 [M, N]. out: [M, N], f32 or f16 (two columns a word).
// params.eps and params.weight_offset belong to the RMSNorm that matvec_body.wgsl may apply to x; params.never, always 0, and
// params.split to subgroup_matrix.wgsl, whose results join.wgsl finishes where K was split.
// Columns are those of the whole weight: a weight larger than a binding arrives in row ranges, from params.column0 on.
#include "common/dtype.wgsl"
#include "common/activation.wgsl"

const HAS_BIAS: bool = false;
const HAS_GAMMA: bool = false;
const HAS_RESIDUAL: bool = false;
const EARLY_RESIDUAL: bool = false; // it was read before the product, into early_residual: matvec_body.wgsl
const ACTIVATION: u32 = 0u;
const OUT_F16: bool = false;

struct Params {
  M: u32,
  N: u32,
  K: u32,
  column0: u32,
  columns: u32,
  scale: f32,
  eps: f32,
  weight_offset: f32,
  never: u32,
  split: u32,
}

@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> gamma: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<u32>;

// Of the two neighbouring columns that a thread stores.
var<private> early_residual: vec2<f32>;

// Operands of the epilogue; column: of the whole weight, and params.columns the width of out, where params.N are the rows of w that are bound.
fn bias_at(column: u32) -> f32 {
  if HAS_BIAS {
    return bias[column];
  }
  return 0.0;
}

fn gamma_at(column: u32) -> f32 {
  if HAS_GAMMA {
    return gamma[column];
  }
  return 1.0;
}

fn residual_at(row: u32, column: u32) -> f32 {
  if HAS_RESIDUAL {
    if EARLY_RESIDUAL {
      return early_residual[(column - params.column0) % 2u];
    }
    return residual[row * params.columns + column];
  }
  return 0.0;
}

fn complete(product: f32, bias_value: f32, gamma_value: f32, residual_value: f32) -> f32 {
  var value = product * params.scale;
  if HAS_BIAS {
    value += bias_value;
  }
  value = activate(value, ACTIVATION);
  if HAS_GAMMA {
    value *= gamma_value;
  }
  if HAS_RESIDUAL {
    value += residual_value;
  }
  return value;
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
  let at = row * params.columns + column;
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

// The end that all matmul variants share: what happens to an accumulated product before it is stored.
//   value = residual + gamma * activation(params.scale * value + bias)      each part only if its constant says so, or params.parts where AT_RUN
// bias, gamma: f32 [N]. residual: f32 [M, N]. out: [M, N], f32 or f16. The last two are bound as whoever stores them needs it: two columns at a time
// (store_pair.wgsl) or 16 bytes (subgroup_matrix.wgsl).
// params.eps and params.weight_offset belong to the RMSNorm that matvec_body.wgsl may apply to x; params.never, always 0, to subgroup_matrix.wgsl; params.split
// to register.wgsl and the products on matrices, whose results join.wgsl finishes where K was shared.
// Columns are those of the whole weight: a weight larger than a binding arrives in row ranges, from params.column0 on.
#include "common/dtype.wgsl"
#include "common/activation.wgsl"

const HAS_BIAS: bool = false;
const HAS_GAMMA: bool = false;
const HAS_RESIDUAL: bool = false;
// All three constants are true, and bits of params.parts say what there is; the rest is selected away, without a branch. A model uses many combinations, and
// kernels on matrices take up to a second each to compile.
const AT_RUN: bool = false;
const PART_BIAS: u32 = 1u;
const PART_GAMMA: u32 = 2u;
const PART_RESIDUAL: u32 = 4u;
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
  parts: u32,
}

@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> gamma: array<f32>;

fn has(part: u32) -> bool {
  return !AT_RUN || (params.parts & part) != 0u;
}

// Operands of the epilogue; column: of the whole weight, and params.columns the width of out, where params.N are the rows of w that are bound.
fn bias_at(column: u32) -> f32 {
  if HAS_BIAS {
    return select(0.0, bias[select(0u, column, has(PART_BIAS))], has(PART_BIAS));
  }
  return 0.0;
}

fn gamma_at(column: u32) -> f32 {
  if HAS_GAMMA {
    return select(1.0, gamma[select(0u, column, has(PART_GAMMA))], has(PART_GAMMA));
  }
  return 1.0;
}

fn complete(product: f32, bias_value: f32, gamma_value: f32, residual_value: f32) -> f32 {
  var value = product * params.scale;
  if HAS_BIAS {
    value += bias_value;
  }
  value = activate(value, ACTIVATION, OUT_F16);
  if HAS_GAMMA {
    value *= gamma_value;
  }
  if HAS_RESIDUAL {
    value += residual_value;
  }
  return value;
}

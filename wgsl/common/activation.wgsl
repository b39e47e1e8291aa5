// Activation functions by number (ACTIVATIONS in src/kernels/matmul.ts).
#include "common/sigmoid.wgsl"

const ACTIVATION_NONE: u32 = 0u;
const ACTIVATION_GELU_ERF: u32 = 1u;
const ACTIVATION_GELU_TANH: u32 = 2u;
const ACTIVATION_SILU: u32 = 3u;

// Abramowitz and Stegun 7.1.26, absolute error under 1.5e-7.
fn erf(x: f32) -> f32 {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(x) * (1.0 - polynomial * exp(-min(a * a, 80.0)));
}

fn activate(x: f32, kind: u32) -> f32 {
  if kind == ACTIVATION_GELU_ERF {
    return 0.5 * x * (1.0 + erf(x * 0.7071067811865476));
  }
  if kind == ACTIVATION_GELU_TANH {
    // 0.5 (1 + tanh(u)) = sigmoid(2u)
    return x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x));
  }
  if kind == ACTIVATION_SILU {
    return silu(x);
  }
  return x;
}

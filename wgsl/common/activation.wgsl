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

// x times the normal distribution function, which is nearly a logistic function of an odd polynomial: within 1.2e-5 of GELU, less than f16 rounds from 0.05 on.
// Coefficients: minimax fit of four, times -log2(e). In the epilogue of a product every operation counts: this is half of those that erf takes.
fn gelu_rounded(x: f32) -> f32 {
  let y = clamp(x, -6.5, 6.5);
  let u = y * y;
  let exponent = y * fma(fma(fma(2.4836222e-5, u, 7.3606439e-4), u, -0.1059827432), u, -2.301647147);
  return x / (1.0 + exp2(exponent));
}

// 0.5 x (1 + tanh(t)) = x sigmoid(2 t), t = sqrt(2 / pi) (x + 0.044715 x^3); beyond 9 the sigmoid is 0 or 1 to f32's precision.
fn gelu_tanh(x: f32) -> f32 {
  let y = clamp(x, -9.0, 9.0);
  return x / (1.0 + exp2(y * fma(-0.1029432397, y * y, -2.302208199)));
}

// `rounded`: the result will be rounded to f16.
fn activate(x: f32, kind: u32, rounded: bool) -> f32 {
  if kind == ACTIVATION_GELU_ERF {
    if rounded {
      return gelu_rounded(x);
    }
    return 0.5 * x * (1.0 + erf(x * 0.7071067811865476));
  }
  if kind == ACTIVATION_GELU_TANH {
    return gelu_tanh(x);
  }
  if kind == ACTIVATION_SILU {
    return silu(x);
  }
  return x;
}

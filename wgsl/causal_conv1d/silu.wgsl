// x * sigmoid(x); the exponent is bounded, because exp may give infinity or NaN where the sigmoid is 0 in f32 anyway.
fn silu(x: f32) -> f32 {
  return x / (1.0 + exp(min(-x, 88.0)));
}

// Logistic functions. exp overflows f32 beyond 88, where the sigmoid has long been 0 to f32's precision.
fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-max(x, -80.0)));
}

// x * sigmoid(x), also called swish.
fn silu(x: f32) -> f32 {
  return x * sigmoid(x);
}

// log(1 + exp(x)), the integral of the sigmoid.
fn softplus(x: f32) -> f32 {
  if x > 20.0 {
    return x;
  }
  return log(1.0 + exp(x));
}

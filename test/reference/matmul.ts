import type { Activation } from '../../src/kernels/matmul.ts';

/** erf by its Taylor series where it converges fast, 1 beyond. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

/** The activation functions, in double. */
export const activations: Record<Activation, (x: number) => number> = {
  none: (x) => x,
  gelu_erf: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
};

/** Naive twin of `linear`: residual + gamma * activation(x w^T + bias), in double. */
export function linearReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  [m, n, k]: readonly [number, number, number],
  {
    bias,
    gamma,
    residual,
    activation = 'none',
  }: {
    bias?: ArrayLike<number>;
    gamma?: ArrayLike<number>;
    residual?: ArrayLike<number>;
    activation?: Activation;
  } = {},
): Float64Array {
  const out = new Float64Array(m * n);
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = bias?.[column] ?? 0;
      for (let i = 0; i < k; i++) sum += x[row * k + i]! * w[column * k + i]!;
      out[row * n + column] =
        (residual?.[row * n + column] ?? 0) + (gamma?.[column] ?? 1) * activations[activation](sum);
    }
  }
  return out;
}

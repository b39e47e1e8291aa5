/** Naive elementwise formulas in double precision. */

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

export function addScaled(a: ArrayLike<number>, b: ArrayLike<number>, scaleA: number, scaleB: number): Float64Array {
  return Float64Array.from(a, (value, i) => scaleA * value + scaleB * b[i]!);
}

export function blend(s: ArrayLike<number>, a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(s, (value, i) => sigmoid(value) * a[i]! + (1 - sigmoid(value)) * b[i]!);
}

/** silu(gate) * up for rows of dim gate values followed by dim up values. */
export function siluMul(gateUp: ArrayLike<number>, dim: number): Float64Array {
  const y = new Float64Array(gateUp.length / 2);
  for (let i = 0; i < y.length; i++) {
    const gate = gateUp[Math.floor(i / dim) * 2 * dim + (i % dim)]!;
    y[i] = gate * sigmoid(gate) * gateUp[Math.floor(i / dim) * 2 * dim + dim + (i % dim)]!;
  }
  return y;
}

/** a * sigmoid(gate), gate lying like a. */
export function sigmoidGate(a: ArrayLike<number>, gate: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (value, i) => value * sigmoid(gate[i]!));
}

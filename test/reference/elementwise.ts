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

/** The f16 nearest to x, ties to even, by searching the exact value among f16's multiples; infinite from 65520 on. */
export function nearestHalf(x: number): number {
  const magnitude = Math.abs(x);
  if (!(magnitude < 65520)) return Number.isNaN(x) ? x : Math.sign(x) * Number.POSITIVE_INFINITY;
  const unit = 2 ** (Math.max(Math.floor(Math.log2(magnitude || 1)), -14) - 10);
  const below = Math.floor(magnitude / unit);
  const rest = magnitude / unit - below;
  const up = rest > 0.5 || (rest === 0.5 && below % 2 === 1);
  return Math.sign(x) * (below + (up ? 1 : 0)) * unit;
}

/** (x - mean) / sqrt(variance + eps) * weight + bias over consecutive vectors of `dim` elements, in double precision. */
export function layerNorm(
  x: ArrayLike<number>,
  dim: number,
  eps: number,
  weight?: ArrayLike<number>,
  bias?: ArrayLike<number>,
): Float64Array {
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += dim) {
    let sum = 0;
    for (let i = 0; i < dim; i++) sum += x[start + i]!;
    const mean = sum / dim;
    let squares = 0;
    for (let i = 0; i < dim; i++) squares += (x[start + i]! - mean) ** 2;
    const deviation = Math.sqrt(squares / dim + eps);
    for (let i = 0; i < dim; i++)
      y[start + i] = ((x[start + i]! - mean) / deviation) * (weight?.[i] ?? 1) + (bias?.[i] ?? 0);
  }
  return y;
}

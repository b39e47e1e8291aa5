/** x * rsqrt(mean(x^2) + eps) * (weightOffset + weight) over consecutive vectors as long as `weight`, in double precision. */
export function rmsNorm(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  eps: number,
  weightOffset: number,
): Float64Array {
  const dim = weight.length;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += dim) {
    let squares = 0;
    for (let i = 0; i < dim; i++) squares += x[start + i]! ** 2;
    const rms = Math.sqrt(squares / dim + eps);
    for (let i = 0; i < dim; i++) y[start + i] = (x[start + i]! / rms) * (weightOffset + weight[i]!);
  }
  return y;
}

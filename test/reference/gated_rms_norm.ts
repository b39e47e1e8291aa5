import { rmsNorm } from './rms_norm.ts';

/** rmsNorm(o) * weight * silu(z) over consecutive vectors as long as `weight`; z lies like o. Double precision. */
export function gatedRmsNorm(
  o: ArrayLike<number>,
  weight: ArrayLike<number>,
  z: ArrayLike<number>,
  eps: number,
): Float64Array {
  return rmsNorm(o, weight, eps, 0).map((value, i) => (value * z[i]!) / (1 + Math.exp(-z[i]!)));
}

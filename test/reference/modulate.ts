/** Naive twin of `modulate`, in double: x, normed [tokens, dim], modulation [tokens, 3 * dim]. */
export function modulateReference(
  x: ArrayLike<number>,
  normed: ArrayLike<number>,
  modulation: ArrayLike<number>,
  dim: number,
): Float64Array {
  return Float64Array.from(x, (value, i) => {
    const [shift, scale, gate] = [0, 1, 2].map(
      (part) => modulation[(3 * Math.floor(i / dim) + part) * dim + (i % dim)]!,
    ) as [number, number, number];
    return value + gate * (normed[i]! * (1 + scale) + shift);
  });
}

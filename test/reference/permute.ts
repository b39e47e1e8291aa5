/** Naive twin of `permute`: values [A, B, C] with the axes in another order. */
export function permuteReference(
  x: ArrayLike<number>,
  shape: readonly number[],
  order: readonly number[],
): Float64Array {
  const strides = [shape[1]! * shape[2]!, shape[2]!, 1];
  const [sizes, steps] = [order.map((axis) => shape[axis]!), order.map((axis) => strides[axis]!)];
  const out = new Float64Array(x.length);
  let at = 0;
  for (let i = 0; i < sizes[0]!; i++)
    for (let j = 0; j < sizes[1]!; j++)
      for (let k = 0; k < sizes[2]!; k++) out[at++] = x[i * steps[0]! + j * steps[1]! + k * steps[2]!]!;
  return out;
}

/** Rows of x [N, dim] by index; zeros for indices outside of [0, N). */
export function gatherRows(x: ArrayLike<number>, index: ArrayLike<number>, dim: number): Float32Array {
  const y = new Float32Array(index.length * dim);
  for (let i = 0; i < index.length; i++) {
    const row = index[i]!;
    for (let d = 0; d < dim; d++) y[i * dim + d] = row >= 0 && row < x.length / dim ? x[row * dim + d]! : 0;
  }
  return y;
}

/** target with the rows that `index` names overwritten by, or increased by, `rows`; indices outside of [0, N) are skipped. */
export function scatterRows(
  target: ArrayLike<number>,
  index: ArrayLike<number>,
  rows: ArrayLike<number>,
  dim: number,
  add: boolean,
): Float32Array {
  const y = Float32Array.from(target);
  for (let i = 0; i < index.length; i++) {
    const row = index[i]!;
    if (row < 0 || row >= y.length / dim) continue;
    for (let d = 0; d < dim; d++) y[row * dim + d] = (add ? y[row * dim + d]! : 0) + rows[i * dim + d]!;
  }
  return y;
}

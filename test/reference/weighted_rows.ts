/** sum over k of weights[i, k] * table[index[i, k]] for index and weights [n, terms], in double precision; terms outside of the table count as zero. */
export function weightedRows(
  table: ArrayLike<number>,
  dim: number,
  index: ArrayLike<number>,
  weights: ArrayLike<number>,
  terms: number,
): Float64Array {
  const y = new Float64Array((index.length / terms) * dim);
  for (let i = 0; i < index.length / terms; i++) {
    for (let k = 0; k < terms; k++) {
      const row = index[i * terms + k]!;
      if (row < 0 || row >= table.length / dim) continue;
      for (let d = 0; d < dim; d++) y[i * dim + d]! += weights[i * terms + k]! * table[row * dim + d]!;
    }
  }
  return y;
}

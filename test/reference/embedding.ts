/** Rows of table [V, dim] by id; zeros for ids outside of [0, V). */
export function embedding(ids: ArrayLike<number>, table: ArrayLike<number>, dim: number): Float32Array {
  const y = new Float32Array(ids.length * dim);
  for (let t = 0; t < ids.length; t++) {
    const id = ids[t]!;
    if (id < 0 || id >= table.length / dim) continue;
    for (let d = 0; d < dim; d++) y[t * dim + d] = table[id * dim + d]!;
  }
  return y;
}

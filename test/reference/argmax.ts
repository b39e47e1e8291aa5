/** Index of the largest value of each row, the lowest among equals; NaN never wins, nothing but NaN gives -1. */
export function argmaxReference(x: Float32Array, rows: number, columns: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, row) => {
    let best = -1;
    for (let i = 0; i < columns; i++) {
      const value = x[row * columns + i]!;
      if (!Number.isNaN(value) && (best < 0 || value > x[row * columns + best]!)) best = i;
    }
    return best;
  });
}

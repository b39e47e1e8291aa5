import { InputError } from '../../../io/errors.ts';

/**
 * Sine and cosine position embeddings of a grid (Vaswani et al. 2017, in two dimensions): [rows, columns, width], the first half of the
 * channels from the row, the second from the column; each half holds sin(p w_k), then cos(p w_k), with w_k = 10000^(-k / (width / 4)).
 * @throws InputError unless the width is a multiple of 4
 */
export function sincos2d(rows: number, columns: number, width: number): Float32Array {
  const count = width / 4;
  if (!Number.isInteger(count)) {
    throw new InputError(`sine and cosine positions need a width that is a multiple of 4; ${width} was found`);
  }
  const table = new Float32Array(rows * columns * width);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const start = (row * columns + column) * width;
      for (let k = 0; k < count; k++) {
        const frequency = 10000 ** (-k / count);
        table[start + k] = Math.sin(row * frequency);
        table[start + count + k] = Math.cos(row * frequency);
        table[start + 2 * count + k] = Math.sin(column * frequency);
        table[start + 3 * count + k] = Math.cos(column * frequency);
      }
    }
  }
  return table;
}

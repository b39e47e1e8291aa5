import { stridedCopy } from '../../../kernels/strided_copy.ts';
import { KernelError } from '../../../tensor/errors.ts';
import type { Tensor } from '../../../tensor/tensor.ts';

/**
 * Tokens from raster order to merge-window order, the order of the vision tower: window by window, m x m tokens each. Rows and columns
 * beyond the last whole window are dropped (spec spatialstack.md section 3.1).
 * @param tokens f32 [S, hp * wp, C]
 * @returns f32 [S, hp' * wp', C], hp' and wp' being hp and wp rounded down to multiples of m
 */
export function toWindowOrder(tokens: Tensor, hp: number, wp: number, m: number): Tensor {
  const [pictures, count, width] = tokens.shape as [number, number, number];
  if (tokens.shape.length !== 3 || count !== hp * wp) {
    throw new KernelError(`toWindowOrder: [${tokens.shape}] tokens do not fit a grid of ${hp} x ${wp}`);
  }
  const [rows, columns] = [Math.floor(hp / m), Math.floor(wp / m)];
  const out = tokens.device.tensor([pictures, rows * columns * m * m, width]);
  // A row of a window is one run of m tokens in both orders; so each of a window's m rows is one four-dimensional copy.
  const run = m * width;
  for (let row = 0; row < m; row++) {
    stridedCopy(tokens, out, {
      sizes: [pictures, rows, columns, run],
      sourceStrides: [count * width, m * wp * width, run, 1],
      targetStrides: [rows * columns * m * run, columns * m * run, m * run, 1],
      sourceOffset: row * wp * width,
      targetOffset: row * run,
    });
  }
  return out;
}

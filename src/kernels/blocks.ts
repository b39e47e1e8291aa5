import { grid } from '../tensor/device.ts';
import { BLOCK_COLUMNS, BLOCK_ROWS, DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import { rowRanges } from '../tensor/row_ranges.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape, type ResultDtype } from './checks.ts';

/** dtypes of a matrix that a product is to read next. */
export type OperandDtype = ResultDtype | 'f16_blocks';

/** How wide a product's operands must be to be read in blocks: it takes 32 values of K at a time. */
const BLOCKED_WIDTH = 32;

/** Whether a weight [N, K] can be kept in blocks: results leave 16 bytes at a time, K is read in whole steps. */
export function fitsBlocks(n: number, k: number): boolean {
  return n % BLOCK_COLUMNS === 0 && k % BLOCKED_WIDTH === 0;
}

/**
 * m * n / (m + n), of m rows of x and n of the weight, from which a product brings both into blocks before it multiplies: the product saves some time for each of its
 * m * n * k terms, and each of the (m + n) * k elements has to be brought. On an H200, prompts of 1024 tokens lose 5 % from 900 on, of 2048 gain nothing from 500 to
 * 1900; of 4096 and 6144 they gain 1 to 2 % by 1100 instead of 1900.
 */
const BROUGHT_FROM = 1100;

/** Whether `linear` brings a weight in rows into blocks to multiply so many rows of f16. */
export function isBrought(weight: Tensor, rows: number): boolean {
  const n = weight.dim(0);
  if (weight.dtype === 'f16_blocks' || rows * n < BROUGHT_FROM * (rows + n)) return false;
  return weight.device.multipliesMatrices && fitsBlocks(n, weight.size / n) && rowRanges(weight).length === 1;
}

/**
 * In which dtype a product with this weight reads its other operand with the least effort: in blocks if the weight is, or is to be brought so.
 * @param operand the dtype otherwise
 * @param rows of the other operand; a weight in rows counts as one that stays so unless they are given
 */
export function operandFor<Dtype extends ResultDtype>(weight: Tensor, operand: Dtype, rows = 0): Dtype | 'f16_blocks' {
  return weight.dtype === 'f16_blocks' || (operand === 'f16' && isBrought(weight, rows)) ? 'f16_blocks' : operand;
}

/** x [..., C] f32, f16 or bf16 as a matrix in blocks, [rows, C] f16_blocks, new or in the tensor given; C is a multiple of 8. @throws KernelError */
export function toBlocks(x: Tensor, target?: Tensor): Tensor {
  expectDtype('toBlocks', 'x', x, 'f16', 'bf16', 'f32');
  const columns = x.dim(-1);
  const rows = x.size / columns;
  if (columns % BLOCK_COLUMNS !== 0)
    throw new KernelError(`toBlocks: x is ${described(x)}; expected a last dimension that is a multiple of 8`);
  const y = target ?? x.device.tensor([rows, columns], 'f16_blocks');
  expectDtype('toBlocks', 'the target', y, 'f16_blocks');
  expectShape('toBlocks', 'the target', y, [rows, columns]);
  x.device.run({
    kernel: 'blocks/to_blocks',
    constants: { X_DTYPE: DTYPE_CODE[x.dtype as 'f16'] },
    bindings: [x, y],
    params: { rows, columns },
    workgroups: grid(Math.ceil(rows / BLOCK_ROWS) * Math.ceil(columns / 128)),
    work: () => ({ bytes: x.byteLength + y.byteLength }),
  });
  return y;
}

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
 * From how many rows of x and of a weight a product brings operands that lie in rows into blocks before it multiplies: bringing takes some time for each element of
 * one, multiplying in blocks saves some for each of its elements and each row of the other. On an H200, a 4B's prompt of 1024 tokens would lose 5 %, of 1536 3 %;
 * of 2048 nothing changes, of 4096 and 6144 2 % are gained.
 */
const BROUGHT_FROM = 2048;

/** Whether `linear` brings a weight in rows into blocks to multiply so many rows of f16. */
export function isBrought(weight: Tensor, rows: number): boolean {
  const n = weight.dim(0);
  if (weight.dtype === 'f16_blocks' || Math.min(rows, n) < BROUGHT_FROM) return false;
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

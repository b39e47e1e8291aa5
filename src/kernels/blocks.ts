import { grid } from '../tensor/device.ts';
import { BLOCK_COLUMNS } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
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
 * In which dtype a product with this weight reads its other operand with the least effort: in blocks if the weight is.
 * @param operand the dtype otherwise
 */
export function operandFor(weight: Tensor, operand: ResultDtype): OperandDtype {
  return weight.dtype === 'f16_blocks' ? 'f16_blocks' : operand;
}

/** x [..., C] f16 as a matrix in blocks, [rows, C] f16_blocks, new or in the tensor given; C is a multiple of 8. @throws KernelError */
export function toBlocks(x: Tensor, target?: Tensor): Tensor {
  expectDtype('toBlocks', 'x', x, 'f16');
  const columns = x.dim(-1);
  const rows = x.size / columns;
  if (columns % BLOCK_COLUMNS !== 0)
    throw new KernelError(`toBlocks: x is ${described(x)}; expected a last dimension that is a multiple of 8`);
  const y = target ?? x.device.tensor([rows, columns], 'f16_blocks');
  expectDtype('toBlocks', 'the target', y, 'f16_blocks');
  expectShape('toBlocks', 'the target', y, [rows, columns]);
  x.device.run({
    kernel: 'blocks/to_blocks',
    bindings: [x, y],
    params: { rows, columns },
    workgroups: grid(Math.ceil(y.byteLength / 16 / 256)),
    work: () => ({ bytes: x.byteLength + y.byteLength }),
  });
  return y;
}

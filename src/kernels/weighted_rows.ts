import { grid } from '../tensor/device.ts';
import { DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape } from './checks.ts';

/**
 * sum over k of weights[i, k] * table[index[i, k]], plus `addTo` where given: table [V, D] f32, f16 or bf16, index [n, k] i32, weights
 * [n, k] f32, addTo [n, D] f32, result [n, D] f32. With four terms, bilinear interpolation of position embeddings. @throws KernelError
 */
export function weightedRows(
  table: Tensor,
  index: Tensor,
  weights: Tensor,
  { addTo }: { addTo?: Tensor } = {},
): Tensor {
  expectDtype('weightedRows', 'the table', table, 'f32', 'f16', 'bf16');
  expectDtype('weightedRows', 'index', index, 'i32');
  expectDtype('weightedRows', 'weights', weights, 'f32');
  if (table.shape.length !== 2 || index.shape.length !== 2) {
    throw new KernelError(
      `weightedRows: the table is ${described(table)} and index ${described(index)}; expected [V, D] and [n, k]`,
    );
  }
  const [rows, dim] = table.shape as [number, number];
  const [count, terms] = index.shape as [number, number];
  expectShape('weightedRows', 'weights', weights, [count, terms]);
  if (addTo !== undefined) {
    expectDtype('weightedRows', 'addTo', addTo, 'f32');
    expectShape('weightedRows', 'addTo', addTo, [count, dim]);
  }
  const y = table.device.tensor([count, dim]);
  table.device.run({
    kernel: 'weighted_rows/weighted_rows',
    constants: { TABLE_DTYPE: DTYPE_CODE[table.dtype as keyof typeof DTYPE_CODE], HAS_ADDEND: addTo !== undefined },
    bindings: [table, index, weights, addTo ?? weights, y],
    params: { rows, dim, count, terms },
    workgroups: grid(Math.ceil((count * dim) / 256)),
    work: () => ({ flops: y.size * (2 * terms + 1) }),
  });
  return y;
}

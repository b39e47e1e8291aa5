import { grid } from '../tensor/device.ts';
import { DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import { rowRanges } from '../tensor/row_ranges.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype } from './checks.ts';

/**
 * The table's rows by id: ids [T] i32, table [V, d] f32, f16 or bf16, result [T, d] f32; an id outside of [0, V) gives zeros. A table
 * larger than `bindingLimit` bytes (what the device can bind, unless given) is read in row ranges, one dispatch each. @throws KernelError
 */
export function embedding(ids: Tensor, table: Tensor, bindingLimit?: number): Tensor {
  expectDtype('embedding', 'ids', ids, 'i32');
  expectDtype('embedding', 'the table', table, 'f32', 'f16', 'bf16');
  if (ids.shape.length !== 1 || table.shape.length !== 2) {
    throw new KernelError(
      `embedding: ids are ${described(ids)} and the table is ${described(table)}; expected [T] and [V, d]`,
    );
  }
  const tokens = ids.dim(0);
  const [vocabulary, dim] = table.shape as [number, number];
  const y = ids.device.tensor([tokens, dim]);
  for (const range of rowRanges(table, { limit: bindingLimit })) {
    ids.device.run({
      kernel: 'embedding/embedding',
      constants: { TABLE_DTYPE: DTYPE_CODE[table.dtype as keyof typeof DTYPE_CODE] },
      bindings: [ids, range.tensor, y],
      params: { tokens, dim, vocabulary, range_start: range.start, range_count: range.tensor.dim(0) },
      workgroups: grid(Math.ceil((tokens * dim) / 256)),
      // Each row that is asked for lies in one of the ranges.
      work: () => ({
        bytes: ids.byteLength + y.byteLength + ((tokens * table.byteLength) / vocabulary) * (range.start === 0 ? 1 : 0),
      }),
    });
  }
  return y;
}

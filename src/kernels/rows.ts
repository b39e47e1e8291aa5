import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectApart, expectDtype, expectShape } from './checks.ts';

function expectMatrixAndIndex(operation: string, matrix: Tensor, index: Tensor): void {
  expectDtype(operation, 'the matrix', matrix, 'f32');
  expectDtype(operation, 'index', index, 'i32');
  if (matrix.shape.length !== 2 || index.shape.length !== 1) {
    throw new KernelError(
      `${operation}: got ${described(matrix)} and index ${described(index)}; expected [N, D] and [n]`,
    );
  }
}

/** Rows of x [N, D] f32 by index [n] i32, as [n, D]; an index outside of [0, N) gives zeros. @throws KernelError */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  expectMatrixAndIndex('gatherRows', x, index);
  const [rows, dim] = x.shape as [number, number];
  const count = index.dim(0);
  const y = x.device.tensor([count, dim]);
  x.device.run({
    kernel: 'rows/gather',
    bindings: [x, index, y],
    params: { rows, count, dim },
    workgroups: grid(Math.ceil((count * dim) / 1024)),
    work: () => ({ bytes: index.byteLength + 2 * y.byteLength }),
  });
  return y;
}

/** The last row of x [T, ...] as a tensor of its own, [1, ...]; rows are whole multiples of 4 bytes. */
export function lastRow(x: Tensor): Tensor {
  const [rows = 1, ...shape] = x.shape;
  const row = x.device.tensor([1, ...shape], x.dtype);
  x.device.copy(x, (rows - 1) * row.size, row, 0, row.size);
  return row;
}

/**
 * Overwrites (or, with `add`, adds to) the rows of target [N, D] f32 that index [n] i32 names, with rows [n, D] f32. Indices are
 * distinct; those outside of [0, N) are skipped. @throws KernelError
 */
export function scatterRows(
  target: Tensor,
  index: Tensor,
  rows: Tensor,
  { add = false }: { add?: boolean } = {},
): void {
  expectMatrixAndIndex('scatterRows', target, index);
  expectDtype('scatterRows', 'rows', rows, 'f32');
  const count = index.dim(0);
  const dim = target.dim(1);
  expectShape('scatterRows', 'rows', rows, [count, dim]);
  expectApart('scatterRows', target, index, rows);
  target.device.run({
    kernel: 'rows/scatter',
    constants: { ADD: add },
    bindings: [target, index, rows],
    params: { rows: target.dim(0), count, dim },
    workgroups: grid(Math.ceil((count * dim) / 256)),
    work: () => ({ flops: add ? rows.size : 0, bytes: index.byteLength + (add ? 3 : 2) * rows.byteLength }),
  });
}

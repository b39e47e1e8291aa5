import { DTYPE_BYTES } from './dtype.ts';
import { KernelError } from './errors.ts';
import type { Tensor } from './tensor.ts';

/** Consecutive rows of a tensor, small enough to bind, and the index of the first of them. */
export interface RowRange {
  readonly start: number;
  readonly tensor: Tensor;
}

/** Bindings are rounded up to this many bytes (`Stream`). */
const BINDING_GRANULE = 16;

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/**
 * Splits a tensor along its first dimension into views that can each be bound: at most `limit` bytes (the device's largest binding
 * unless given), starting on the device's binding alignment and at a `multiple` of rows. A tensor that fits is returned whole.
 * @throws KernelError when not even the fewest rows that keep the alignment fit
 */
export function rowRanges(
  tensor: Tensor,
  {
    limit = tensor.device.limits.maxStorageBufferBindingSize,
    multiple = 1,
  }: { limit?: number | undefined; multiple?: number } = {},
): RowRange[] {
  const usable = Math.floor(limit / BINDING_GRANULE) * BINDING_GRANULE;
  if (tensor.byteLength <= usable) return [{ start: 0, tensor }];
  const rows = tensor.dim(0);
  const rowBytes = (tensor.size / rows) * DTYPE_BYTES[tensor.dtype];
  const alignment = tensor.device.limits.minStorageBufferOffsetAlignment;
  const aligned = alignment / greatestCommonDivisor(rowBytes, alignment);
  const step = (aligned * multiple) / greatestCommonDivisor(aligned, multiple);
  const count = Math.floor(usable / (rowBytes * step)) * step;
  if (count === 0) {
    throw new KernelError(
      `[${tensor.shape}] ${tensor.dtype} cannot be bound in ranges of ${step} rows and at most ${limit} bytes`,
    );
  }
  const ranges: RowRange[] = [];
  for (let start = 0; start < rows; start += count) {
    ranges.push({ start, tensor: tensor.rows(start, Math.min(count, rows - start)) });
  }
  return ranges;
}

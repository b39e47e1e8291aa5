import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Consecutive rows. */
export interface RowSlice {
  readonly start: number;
  readonly count: number;
}

/**
 * Bytes that a tensor may take that only a step needs. At full size 32 frames of 392 x 518 stay under it in one piece, plenty to fill a GPU; the 208,200
 * tokens of 200 frames would make inner layers of 2.6 and 3.4 GB in f32, beyond what can be bound at once.
 */
const SLICE_BYTES = 512 * 1024 * 1024;
/** Slices begin at multiples of so many rows: rows of any even width then begin on the binding alignment of every device (256 bytes or less). */
const ALIGNED_ROWS = 64;

/** How many things that need a tensor of `bytes` each may be treated together. */
export function atOnce(device: Device, bytes: number): number {
  const most = Math.min(SLICE_BYTES, device.limits.maxStorageBufferBindingSize);
  return Math.max(1, Math.floor(most / bytes));
}

/** About equal slices of `rows` rows, such that a tensor with `rowBytes` bytes for each row of a slice stays small and can be bound. */
export function rowSlices(device: Device, rows: number, rowBytes: number): RowSlice[] {
  const most = atOnce(device, ALIGNED_ROWS * rowBytes) * ALIGNED_ROWS;
  const size = Math.ceil(rows / Math.ceil(rows / most) / ALIGNED_ROWS) * ALIGNED_ROWS;
  const slices: RowSlice[] = [];
  for (let start = 0; start < rows; start += size) slices.push({ start, count: Math.min(size, rows - start) });
  return slices;
}

/** Applies `body`, which makes of every row of x [T, C] f32 by itself a row as wide, and for each of them `rowBytes` on the way: [T, C] f32. */
export function inSlices(x: Tensor, rowBytes: number, body: (rows: Tensor) => Tensor): Tensor {
  const { device } = x;
  const slices = rowSlices(device, x.dim(0), rowBytes);
  if (slices.length === 1) return device.tidy(() => body(x));
  const result = device.tensor(x.shape);
  for (const { start, count } of slices) {
    device.tidy(() => {
      const part = body(x.rows(start, count));
      device.copy(part, 0, result, start * x.dim(1), part.size);
    });
  }
  return result;
}

import type { Device } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Tokens whose keys and values a sequence's cache holds, and tokens drawn in it: what differs from one decoding step to the next, kept on the GPU. */
export interface CursorValues {
  readonly seen: number;
  readonly drawn: number;
}

/** A new cursor, u32 [2], that no scope frees; `Device.dispose` does. */
export function createCursor(device: Device, { seen, drawn }: CursorValues): Tensor {
  const cursor = device.pooled([2], 'u32');
  device.write(cursor, Uint32Array.of(seen, drawn));
  return cursor;
}

/** Moves a cursor on by one token, both seen and drawn. */
export function advance(cursor: Tensor): void {
  if (cursor.dtype !== 'u32' || cursor.size !== 2) throw new KernelError(`advance: ${cursor.dtype} [${cursor.shape}]`);
  cursor.device.run({ kernel: 'cursor/advance', bindings: [cursor], workgroups: [1] });
}

import { Float16Array } from '@petamoriken/float16';
import { floatValues } from '../src/bench/values.ts';
import type { Device } from '../src/tensor/device.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { blockedOrder } from './reference/blocks.ts';

/** Floating dtypes that a test uploads. */
export type FloatDtype = 'f32' | 'f16' | 'bf16';

/** What `values` become when stored as `dtype`, as f32 (bf16 by rounding to nearest even, as PyTorch does). */
export function quantise(values: Float32Array, dtype: FloatDtype): Float32Array<ArrayBuffer> {
  if (dtype === 'f32') return Float32Array.from(values);
  if (dtype === 'f16') return Float32Array.from(Float16Array.from(values));
  const words = new Uint32Array(Float32Array.from(values).buffer);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    words[i] = ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) << 16;
  }
  return new Float32Array(words.buffer);
}

/** Uploads f32 values as a tensor of `dtype`. */
export function uploadAs(
  device: Device,
  values: Float32Array,
  shape: readonly number[],
  dtype: FloatDtype = 'f32',
): Tensor {
  if (dtype === 'f32') return device.upload(values, shape, 'f32');
  const exact = quantise(values, dtype);
  if (dtype === 'f16') return device.upload(new Uint16Array(Float16Array.from(exact).buffer), shape, 'f16');
  return device.upload(
    Uint16Array.from(new Uint32Array(exact.buffer), (word) => word >>> 16),
    shape,
    'bf16',
  );
}

export { floatValues as readValues };

/** The values of a matrix in blocks, row by row. */
export async function readBlocks({ device, storage, shape, byteLength, offset }: Tensor): Promise<Float32Array> {
  const values = await floatValues(new Tensor(device, storage, [byteLength / 2], 'f16', offset));
  return Float32Array.from(blockedOrder(shape[0]!, shape[1]!), (at) => values[at]!);
}

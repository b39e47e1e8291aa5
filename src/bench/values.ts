import { Float16Array } from '@petamoriken/float16';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** A tensor's values, widened to f32 where they are floats. */
export async function floatValues(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
  const { buffer } = await tensor.device.readBytes(tensor);
  switch (tensor.dtype) {
    case 'f32':
      return new Float32Array(buffer);
    case 'f16':
      return Float32Array.from(new Float16Array(buffer));
    case 'bf16':
      return new Float32Array(Uint32Array.from(new Uint16Array(buffer), (half) => half << 16).buffer);
    default:
      throw new KernelError(`a tensor of ${tensor.dtype} was read as floats`);
  }
}

/** A tensor's values, whatever its dtype. */
export async function anyValues(tensor: Tensor): Promise<ArrayLike<number>> {
  const { device, dtype } = tensor;
  return dtype === 'i32' || dtype === 'u32' ? device.readInt32(tensor) : floatValues(tensor);
}

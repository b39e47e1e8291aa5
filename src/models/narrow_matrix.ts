import { bytesOfShape, type Dtype } from '../tensor/dtype.ts';
import type { Storage } from '../tensor/memory.ts';
import { Tensor } from '../tensor/tensor.ts';

/** A matrix of a checkpoint that is kept in f16 or f16_blocks, unless it turns out while loading that f16 cannot hold a value of it. */
export class NarrowMatrix extends Tensor {
  declare storage: Storage;
  declare dtype: Dtype;
  declare byteLength: number;

  /** Becomes a matrix of the checkpoint's dtype with undefined contents. Views made before see memory that is gone. */
  widen(stored: 'f32' | 'bf16'): void {
    const { device, shape, storage, dtype } = this;
    this.storage = device.persistent(shape, stored).storage;
    this.dtype = stored;
    this.byteLength = bytesOfShape(shape, stored);
    device.destroyTensor(new Tensor(device, storage, shape, dtype));
  }
}

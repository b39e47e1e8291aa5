import type { Dtype } from '../tensor/dtype.ts';
import type { Storage } from '../tensor/memory.ts';
import { Tensor } from '../tensor/tensor.ts';

/** An f32 matrix of a checkpoint that is kept in f16, unless it turns out while loading that f16 cannot hold a value of it. */
export class NarrowMatrix extends Tensor {
  declare storage: Storage;
  declare dtype: Dtype;

  /** Becomes an f32 matrix with undefined contents. Views made before see memory that is gone. */
  widen(): void {
    const { device, shape, storage, dtype } = this;
    this.storage = device.persistent(shape, 'f32').storage;
    this.dtype = 'f32';
    device.destroyTensor(new Tensor(device, storage, shape, dtype));
  }
}

import type { Device } from './device.ts';
import { DTYPE_BYTES, type Dtype, elementCount } from './dtype.ts';
import { KernelError } from './errors.ts';
import type { Storage } from './memory.ts';

/** A shape, a dtype and a range of a GPU buffer; contiguous, row-major. */
export class Tensor {
  /** Number of elements. */
  readonly size: number;

  constructor(
    readonly device: Device,
    readonly storage: Storage,
    readonly shape: readonly number[],
    readonly dtype: Dtype,
    /** First byte within the storage. */
    readonly offset = 0,
  ) {
    this.size = elementCount(shape);
  }

  /** Bytes of the elements. */
  get byteLength(): number {
    return this.size * DTYPE_BYTES[this.dtype];
  }

  /** Size of a dimension; negative counts from the end. */
  dim(index: number): number {
    const size = this.shape.at(index);
    if (size === undefined) throw new KernelError(`a tensor of shape [${this.shape}] has no dimension ${index}`);
    return size;
  }

  /** The same elements under another shape. */
  reshape(...shape: number[]): Tensor {
    if (elementCount(shape) !== this.size) throw new KernelError(`[${this.shape}] cannot be viewed as [${shape}]`);
    return new Tensor(this.device, this.storage, shape, this.dtype, this.offset);
  }

  /**
   * A view of `count` indices of the first dimension from `start`. Its first byte must lie on the device's binding alignment
   * (use the `gatherRows` kernel or `Device.copy` otherwise).
   */
  rows(start: number, count: number): Tensor {
    const rowBytes = this.byteLength / this.dim(0);
    const offset = this.offset + start * rowBytes;
    if (start < 0 || start + count > this.dim(0))
      throw new KernelError(`rows ${start}..${start + count} of [${this.shape}]`);
    if (offset % this.device.limits.minStorageBufferOffsetAlignment !== 0) {
      throw new KernelError(
        `row ${start} of [${this.shape}] ${this.dtype} starts at byte ${offset}, which cannot be bound`,
      );
    }
    return new Tensor(this.device, this.storage, [count, ...this.shape.slice(1)], this.dtype, offset);
  }
}

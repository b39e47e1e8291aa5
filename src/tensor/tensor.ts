import type { Device } from './device.ts';
import { BLOCK_ROWS, bytesOfShape, DTYPE_BYTES, type Dtype, elementCount } from './dtype.ts';
import { KernelError } from './errors.ts';
import type { Storage } from './memory.ts';

/** A shape, a dtype and a range of a GPU buffer; contiguous, row-major (but for `f16_blocks`). */
export class Tensor {
  /** Number of elements. */
  readonly size: number;
  /** Bytes of the elements. */
  readonly byteLength: number;

  constructor(
    readonly device: Device,
    readonly storage: Storage,
    readonly shape: readonly number[],
    readonly dtype: Dtype,
    /** First byte within the storage. */
    readonly offset = 0,
  ) {
    this.size = elementCount(shape);
    this.byteLength = bytesOfShape(shape, dtype);
  }

  /** Size of a dimension; negative counts from the end. */
  dim(index: number): number {
    const size = this.shape.at(index);
    if (size === undefined) throw new KernelError(`a tensor of shape [${this.shape}] has no dimension ${index}`);
    return size;
  }

  /** The same elements under another shape. */
  reshape(...shape: number[]): Tensor {
    if (elementCount(shape) !== this.size || this.dtype === 'f16_blocks')
      throw new KernelError(`[${this.shape}] ${this.dtype} cannot be viewed as [${shape}]`);
    return new Tensor(this.device, this.storage, shape, this.dtype, this.offset);
  }

  /**
   * A view of `count` indices of the first dimension from `start`. Its first byte must lie on the device's binding alignment
   * (use the `gatherRows` kernel or `Device.copy` otherwise).
   */
  rows(start: number, count: number): Tensor {
    const rowBytes = (this.size / this.dim(0)) * DTYPE_BYTES[this.dtype];
    const offset = this.offset + start * rowBytes;
    if (start < 0 || start + count > this.dim(0))
      throw new KernelError(`rows ${start}..${start + count} of [${this.shape}]`);
    if (this.dtype === 'f16_blocks' && start % BLOCK_ROWS !== 0)
      throw new KernelError(`row ${start} of [${this.shape}] ${this.dtype} lies inside of a block`);
    if (offset % this.device.limits.minStorageBufferOffsetAlignment !== 0) {
      throw new KernelError(
        `row ${start} of [${this.shape}] ${this.dtype} starts at byte ${offset}, which cannot be bound`,
      );
    }
    return new Tensor(this.device, this.storage, [count, ...this.shape.slice(1)], this.dtype, offset);
  }
}

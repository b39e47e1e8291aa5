import { InputError } from '../io/errors.ts';
import {
  type Checkpoint,
  SAFETENSORS_BYTES,
  type SafetensorsDtype,
  type TensorEntry,
  toFloat32,
} from '../io/safetensors.ts';
import { fitsBlocks, type OperandDtype } from '../kernels/blocks.ts';
import { type Permutation, permute } from '../kernels/permute.ts';
import type { Device } from '../tensor/device.ts';
import { DTYPE_BYTES, type Dtype, elementCount } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { NarrowMatrix } from './narrow_matrix.ts';
import type { Precision } from './precision.ts';
import { type RawCopy, uploadRaw } from './upload.ts';

/** Bytes read so far and in all; a tensor that has to be read twice counts once. */
export type LoadProgress = (loaded: number, total: number) => void;

const GPU_DTYPE: Partial<Record<SafetensorsDtype, Dtype>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** dtypes that weights may have; integers in their place are a quantised or damaged checkpoint. */
const WEIGHT_DTYPES: readonly SafetensorsDtype[] = ['F32', 'F16', 'BF16', 'F64'];

/** Bytes of a file that are converted at once, a multiple of every element size, and how many may wait in the GPU's queue. */
const CONVERTED_BYTES = 4 * 1024 * 1024;
const QUEUED_BYTES = 64 * 1024 * 1024;

interface Converted {
  readonly entry: TensorEntry;
  /** Receives the values in pieces, widened to f32, each with the index of its first value. */
  readonly accept: (values: Float32Array, first: number) => void;
}

interface Narrowed {
  readonly entry: TensorEntry;
  readonly target: NarrowMatrix;
}

/** A matrix that is only read to be put into another order. */
interface Reordered {
  readonly stored: Tensor;
  readonly permutation: Permutation;
  readonly target: Tensor;
}

/** What the scopes of one checkpoint share: everything declared but not yet read. */
interface Plan {
  readonly raw: RawCopy[];
  readonly narrow: Narrowed[];
  readonly converted: Converted[];
  readonly reordered: Reordered[];
  readonly tensors: Tensor[];
}

/**
 * The weights of a checkpoint by name. Modules declare what they need with its shape, which checks the header at once and allocates GPU
 * memory; `load` then reads everything declared, straight into staging memory. Tensors that nobody declared are never read.
 * Matrices keep the dtype of the file (but see `forOperands`); vectors (norm weights, biases) are widened to f32, which costs a few KB and spares every
 * kernel a case.
 */
export class Weights {
  constructor(
    readonly device: Device,
    readonly checkpoint: Checkpoint,
    readonly prefix = '',
    readonly plan: Plan = { raw: [], narrow: [], converted: [], reordered: [], tensors: [] },
    readonly operand: OperandDtype = 'f32',
  ) {}

  /** The same weights seen from inside a module: names are relative to `prefix.`. */
  at(prefix: string): Weights {
    return new Weights(this.device, this.checkpoint, `${this.prefix}${prefix}.`, this.plan, this.operand);
  }

  /**
   * The same weights for products with f16 operands: a matrix stored as f32 is rounded to f16 while it loads, which halves its memory, unless a value of it
   * is beyond f16's range. For f32 operands nothing changes.
   */
  forOperands(operand: Precision['operand']): Weights {
    return new Weights(this.device, this.checkpoint, this.prefix, this.plan, operand);
  }

  /** The same, and what is multiplied on subgroup matrices lies in blocks (bf16, too, which such products round to f16 anyway). For products of many rows. */
  inBlocks(operand: Precision['operand']): Weights {
    const dtype = operand === 'f16' && this.device.multipliesMatrices ? 'f16_blocks' : operand;
    return new Weights(this.device, this.checkpoint, this.prefix, this.plan, dtype);
  }

  has(name: string): boolean {
    return this.checkpoint.has(this.prefix + name);
  }

  /** The shape stored under a name. @throws InputError when it is missing */
  shape(name: string): readonly number[] {
    return this.checkpoint.entry(this.prefix + name).shape;
  }

  /** A matrix in the dtype of the file (f32, f16, bf16; f64 is converted to f32). @throws InputError when missing, of another shape or not floating */
  matrix(name: string, shape: readonly number[]): Tensor {
    const entry = this.#entry(name, shape);
    const { device, operand } = this;
    const isBlocked = operand === 'f16_blocks' && shape.length === 2 && fitsBlocks(shape[0]!, shape[1]!);
    const isNarrowed = entry.dtype === 'F32' ? operand !== 'f32' : entry.dtype === 'BF16' && isBlocked;
    if (!isNarrowed || elementCount(shape) % 2 !== 0) return this.stack([name], shape);
    const dtype = isBlocked ? 'f16_blocks' : 'f16';
    const target = new NarrowMatrix(device, device.persistent(shape, dtype).storage, shape, dtype);
    this.plan.tensors.push(target);
    this.plan.narrow.push({ entry, target });
    return target;
  }

  /**
   * Matrices of equal width one under the other, so that one product serves all: [sum of rows, width]. `shapes` has one shape for each name,
   * or is a single shape for a single name.
   */
  stack(names: readonly string[], ...shapes: (readonly number[])[]): Tensor {
    const entries = names.map((name, i) => this.#entry(name, shapes[i]!));
    const stored = GPU_DTYPE[entries[0]!.dtype];
    // Copies into GPU buffers move whole u32s; a mixed or odd-sized stack is widened instead.
    const raw =
      stored !== undefined && entries.every((entry) => GPU_DTYPE[entry.dtype] === stored && entry.byteLength % 4 === 0);
    const dtype = raw ? stored : 'f32';
    const [, ...width] = shapes[0]!;
    const rows = shapes.reduce((sum, shape) => sum + shape[0]!, 0);
    const target = this.#allocate([rows, ...width], dtype);
    let start = 0;
    for (const entry of entries) {
      const offset = target.offset + start * DTYPE_BYTES[dtype];
      if (raw) this.plan.raw.push({ entry, target, offset });
      else
        this.plan.converted.push({ entry, accept: (values, first) => this.#write(target, offset + 4 * first, values) });
      start += elementCount(entry.shape);
    }
    return target;
  }

  /** A matrix of this shape, stored in another order and in the dtype of `forOperands`. */
  permuted(name: string, shape: readonly number[], permutation: (shape: readonly number[]) => Permutation): Tensor {
    const stored = this.matrix(name, shape);
    const reordered = { stored, permutation: permutation(shape) };
    const target = this.#allocate(reordered.permutation.shape, this.operand === 'f32' ? 'f32' : 'f16');
    this.plan.reordered.push({ ...reordered, target });
    return target;
  }

  /** A matrix whose rows are followed by zeros up to `width` values, widened to f32 where there are any: [rows, width] then. */
  padded(name: string, shape: readonly number[], width: number): Tensor {
    const rows = shape[0]!;
    const content = elementCount(shape) / rows;
    if (content === width) return this.matrix(name, shape);
    const target = this.#allocate([rows, width], 'f32'); // memory is zero until it is written
    const accept = (values: Float32Array, first: number) => {
      for (let at = 0; at < values.length; ) {
        const [row, column] = [Math.floor((first + at) / content), (first + at) % content];
        const end = Math.min(values.length, at + content - column);
        this.#write(target, target.offset + 4 * (row * width + column), values.subarray(at, end));
        at = end;
      }
    };
    this.plan.converted.push({ entry: this.#entry(name, shape), accept });
    return target;
  }

  /** A vector (norm weight, bias, any small tensor), widened to f32. */
  vector(name: string, shape: readonly number[]): Tensor {
    return this.vectors([name], shape);
  }

  /** Vectors one after the other, widened to f32: the bias of a `stack`. */
  vectors(names: readonly string[], ...shapes: (readonly number[])[]): Tensor {
    const entries = names.map((name, i) => this.#entry(name, shapes[i]!));
    const [, ...rest] = shapes[0]!;
    const target = this.#allocate([shapes.reduce((sum, shape) => sum + shape[0]!, 0), ...rest], 'f32');
    let start = 0;
    for (const entry of entries) {
      const offset = target.offset + start * 4;
      this.plan.converted.push({ entry, accept: (values, first) => this.#write(target, offset + 4 * first, values) });
      start += elementCount(entry.shape);
    }
    return target;
  }

  /** Values that stay on the host, widened to f32 and filled in by `load`. */
  host(name: string, shape: readonly number[]): Float32Array {
    const entry = this.#entry(name, shape);
    const values = new Float32Array(elementCount(shape));
    this.plan.converted.push({ entry, accept: (read, first) => values.set(read, first) });
    return values;
  }

  /** Bytes declared and not yet read. */
  get pendingBytes(): number {
    return [...this.plan.raw, ...this.plan.narrow, ...this.plan.converted].reduce(
      (sum, { entry }) => sum + entry.byteLength,
      0,
    );
  }

  /** Reads everything declared since the last call. Host memory stays bounded by a few staging chunks. @throws InputError, DeviceError */
  async load(onProgress?: LoadProgress): Promise<void> {
    const { raw, narrow, converted } = this.plan;
    const total = this.pendingBytes;
    let loaded = 0;
    const advance = (bytes: number) => {
      loaded += bytes;
      onProgress?.(loaded, total);
    };
    await this.#loadConverted(converted.splice(0), advance);
    await this.#loadRaw(raw.splice(0), narrow.splice(0), advance);
    for (const { stored, permutation, target } of this.plan.reordered.splice(0)) {
      permute(stored, permutation, target);
      this.plan.tensors.splice(this.plan.tensors.indexOf(stored), 1);
      this.device.destroyTensor(stored);
    }
    await this.device.finish();
  }

  /** Goes through the motions of what `load` leaves to the GPU, for `Device.rehearse`. */
  rehearse(): void {
    for (const { stored, permutation, target } of this.plan.reordered) permute(stored, permutation, target);
  }

  /** Reads what goes to the GPU as it is or is narrowed there, and once more what cannot be narrowed. */
  async #loadRaw(
    raw: readonly RawCopy[],
    narrow: readonly Narrowed[],
    onChunk: (bytes: number) => void,
  ): Promise<void> {
    const { device, checkpoint } = this;
    if (narrow.length === 0) return uploadRaw(device, checkpoint, raw, onChunk);
    const unfit = device.upload(new Uint32Array(narrow.length), [narrow.length], 'u32', true);
    try {
      const narrowed = narrow.map((copy, index) => ({ ...copy, offset: 0, narrowed: { unfit, index } }));
      await uploadRaw(device, checkpoint, [...raw, ...narrowed], onChunk);
      const isUnfit = await device.readInt32(unfit);
      const wide = narrow.filter((_, index) => isUnfit[index] !== 0);
      for (const { target, entry } of wide) target.widen(entry.dtype === 'BF16' ? 'bf16' : 'f32');
      await uploadRaw(
        device,
        checkpoint,
        wide.map((copy) => ({ ...copy, offset: 0 })),
        () => undefined,
      );
    } finally {
      device.destroyTensor(unfit);
    }
  }

  /** Reads tensors piece by piece through the CPU. */
  async #loadConverted(converted: readonly Converted[], onPiece: (bytes: number) => void): Promise<void> {
    let queued = 0;
    for (const { entry, accept } of converted) {
      const buffer = new Uint8Array(Math.min(CONVERTED_BYTES, entry.byteLength));
      for (let start = 0; start < entry.byteLength; start += buffer.length) {
        const bytes = buffer.subarray(0, entry.byteLength - start);
        await this.checkpoint.read(entry, bytes, start);
        const values = toFloat32(bytes, entry.dtype);
        accept(values, start / SAFETENSORS_BYTES[entry.dtype]);
        onPiece(bytes.length);
        queued += values.byteLength;
        if (queued < QUEUED_BYTES) continue;
        await this.device.finish(); // what was written waits in host memory until the GPU has copied it
        queued = 0;
      }
    }
  }

  /** Frees the GPU memory of everything declared. */
  destroy(): void {
    for (const tensor of this.plan.tensors.splice(0)) this.device.destroyTensor(tensor);
  }

  #allocate(shape: readonly number[], dtype: Dtype): Tensor {
    const tensor = this.device.persistent(shape, dtype);
    this.plan.tensors.push(tensor);
    return tensor;
  }

  #entry(name: string, shape: readonly number[]): TensorEntry {
    const entry = this.checkpoint.entry(this.prefix + name);
    if (entry.shape.length !== shape.length || entry.shape.some((size, i) => size !== shape[i])) {
      throw new InputError(
        `${this.checkpoint.path}: ${entry.name} has shape [${entry.shape}]; [${shape}] was expected`,
      );
    }
    if (!WEIGHT_DTYPES.includes(entry.dtype)) {
      throw new InputError(
        `${this.checkpoint.path}: ${entry.name} has dtype ${entry.dtype}; a weight of ${WEIGHT_DTYPES.join(', ')} was expected`,
      );
    }
    return entry;
  }

  #write(target: Tensor, offset: number, values: Float32Array): void {
    this.device.opened.device.queue.writeBuffer(target.storage.buffer, offset, values as Float32Array<ArrayBuffer>);
  }
}

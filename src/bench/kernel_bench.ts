import type { Device } from '../tensor/device.ts';
import { grid } from '../tensor/device.ts';
import type { Dtype } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { Work } from '../tensor/work.ts';

/** What `KernelBench.setup` prepares. */
export interface KernelRun {
  /** Records the operation once and returns its result: a new tensor, which the harness frees, or one of the operands. */
  run(): Tensor;
  /** Freed by the harness. */
  readonly operands: readonly Tensor[];
  /** What the operation cannot do without, where its dispatches together move more than that: results on their way from one to the next. */
  readonly work?: Work;
  /** What the CPU twin (test/reference) makes of the same operands; asked for before `run`, at the reduced size only. */
  expected(): Promise<ArrayLike<number>>;
}

/** One kernel at one shape. `setup` allocates the operands (`randomTensor`), outside of any `tidy`. */
export interface KernelBench {
  readonly name: string;
  readonly variant: string;
  readonly shape: string;
  /** The shape at which the CPU twin is asked. */
  readonly reducedShape: string;
  /** Finds out about the device what takes an answer of its; called before `setup`. */
  prepare?(device: Device, isReduced: boolean): Promise<void>;
  /** @throws SkippedBench where the device cannot do it */
  setup(device: Device, isReduced: boolean): KernelRun;
}

/** A benchmark of one set of sizes, and a smaller one of the same variant that a naive twin can follow. */
export function kernelBench<Sizes>(bench: {
  readonly name: string;
  readonly variant: string;
  readonly sizes: Sizes;
  readonly reduced: Sizes;
  readonly describe: (sizes: Sizes) => string;
  readonly prepare?: (device: Device, sizes: Sizes) => Promise<void>;
  readonly setup: (device: Device, sizes: Sizes) => KernelRun;
}): KernelBench {
  const { name, variant, sizes, reduced, describe, prepare, setup } = bench;
  return {
    name,
    variant,
    shape: describe(sizes),
    reducedShape: describe(reduced),
    ...(prepare && { prepare: (device, isReduced) => prepare(device, isReduced ? reduced : sizes) }),
    setup: (device, isReduced) => setup(device, isReduced ? reduced : sizes),
  };
}

/** A benchmark that cannot run on this device. */
export class SkippedBench extends Error {
  override name = 'SkippedBench';
}

let seeds = 0;

/** A tensor of random values (floats uniform in [-scale, scale), integers over all 32 bits), made on the GPU. */
export function randomTensor(device: Device, shape: readonly number[], dtype: Dtype = 'f32', scale = 1): Tensor {
  const tensor = device.tensor(shape, dtype);
  const words = Math.ceil(tensor.byteLength / 4);
  const format = { f32: 0, f16: 1, f16_blocks: 1, bf16: 2, i32: 3, u32: 3, u8: 3 }[dtype];
  const most = Math.floor(Math.min(device.limits.maxStorageBufferBindingSize, 2 ** 30) / 1024) * 256;
  for (let start = 0; start < words; start += most) {
    const count = Math.min(most, words - start);
    const part = new Tensor(device, tensor.storage, [count], 'u32', tensor.offset + start * 4);
    const params = { words: count, seed: seeds++, scale };
    device.run({
      kernel: 'bench/fill',
      constants: { FORMAT: format },
      bindings: [part],
      params,
      workgroups: grid(Math.ceil(count / 256)),
    });
  }
  return tensor;
}

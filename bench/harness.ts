import { type Device, grid } from '../src/tensor/device.ts';
import type { Dtype } from '../src/tensor/dtype.ts';
import { Tensor } from '../src/tensor/tensor.ts';

/** What `KernelBench.setup` prepares. */
export interface KernelRun {
  /** Records the work once. Tensors made inside are freed by the harness. */
  run(): void;
  /** Floating-point operations of one run. */
  readonly flops: number;
  /** Fewest bytes that one run must read and write: every operand and the result once. */
  readonly bytes: number;
  /** Frees what `setup` allocated. */
  dispose?(): void;
}

/** One kernel at one shape. `setup` allocates the operands (`randomTensor`), outside of any `tidy`. */
export interface KernelBench {
  readonly name: string;
  readonly variant: string;
  readonly shape: string;
  setup(device: Device): KernelRun;
}

/** What this device can do at most, measured. */
export interface Ceiling {
  /** GB/s read and written by a copy larger than the caches. */
  readonly gbps: number;
  /** TFLOP/s of f32 fused multiply-adds in registers. */
  readonly tflops: number;
}

/** The time of one run, and what follows from it. */
export interface KernelResult {
  readonly name: string;
  readonly variant: string;
  readonly shape: string;
  /** Median GPU time of one run, all its dispatches together. */
  readonly microseconds: number;
  readonly tflops: number;
  readonly gbps: number;
  /** Which of the two ceilings is nearer, and the share of it; kernels on tensor cores may pass the f32 one. */
  readonly ceiling?: 'memory' | 'f32';
  readonly shareOfCeiling?: number;
  readonly samples: number;
}

/** How `measure` works. */
export interface MeasureOptions {
  /** Adds the share of this ceiling to the result. */
  readonly ceiling?: Ceiling;
  /** Bound on the measuring time; 1 unless given. */
  readonly seconds?: number;
}

/** A benchmark left out because a software adapter would take too long. */
export class SkippedBench extends Error {
  override name = 'SkippedBench';
}

const WARM_UP_MS = 50;
const MAX_SAMPLES = 500;
/** Work that a software adapter is still asked to do in one run. */
const SOFTWARE_FLOPS = 2e9;
const SOFTWARE_BYTES = 256e6;
/** More than any cache: read before every sample, so that operands come from memory as they do in a model, where other layers ran in between. */
const SCRUB_BYTES = 256 * 2 ** 20;
const SCRUB_LABEL = 'bench/scrub';

let seeds = 0;

/** A tensor of random values (floats uniform in [-scale, scale), integers over all 32 bits), made on the GPU. */
export function randomTensor(device: Device, shape: readonly number[], dtype: Dtype = 'f32', scale = 1): Tensor {
  const tensor = device.tensor(shape, dtype);
  const words = Math.ceil(tensor.byteLength / 4);
  const format = { f32: 0, f16: 1, bf16: 2, i32: 3, u32: 3 }[dtype];
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

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Milliseconds of GPU time of each of `count` runs, with the caches scrubbed before each. */
async function sample(device: Device, work: KernelRun, scrub: () => void, count: number): Promise<number[]> {
  const profiler = await device.profile(async () => {
    for (let i = 0; i < count; i++) {
      scrub();
      device.tidy(() => work.run());
    }
  });
  await device.finish();
  await profiler.summary();
  profiler.destroy();
  const times: number[] = [];
  for (const { label, begin, end } of profiler.spans.toSorted((a, b) => a.begin - b.begin)) {
    if (label === SCRUB_LABEL) times.push(0);
    else times[times.length - 1]! += (end - begin) / 1e6;
  }
  return times;
}

/** Keeps the GPU busy for the warm-up time and returns the milliseconds that one scrub and run took. */
async function warmUp(device: Device, work: KernelRun, scrub: () => void): Promise<number> {
  const started = performance.now();
  for (let count = 8; ; count += 8) {
    for (let i = 0; i < 8; i++) {
      scrub();
      device.tidy(() => work.run());
    }
    await device.finish();
    const elapsed = performance.now() - started;
    if (elapsed >= WARM_UP_MS) return elapsed / count;
  }
}

/**
 * Times one benchmark by GPU timestamps: at least 50 ms of warm-up, since GPUs idle down while a pipeline compiles, then the median of
 * as many runs as fit the bound. Only dispatches are timed, not copies or clears.
 * @throws SkippedBench when it is too large for a software adapter, and whatever `setup` and `run` throw
 */
export async function measure(device: Device, bench: KernelBench, options: MeasureOptions = {}): Promise<KernelResult> {
  const { name, variant, shape } = bench;
  const work = bench.setup(device);
  const scrubbed = device.tensor([device.opened.isSoftware ? 4096 : SCRUB_BYTES / 4], 'u32');
  const sink = device.tensor([1], 'u32');
  try {
    if (device.opened.isSoftware && (work.flops > SOFTWARE_FLOPS || work.bytes > SOFTWARE_BYTES)) {
      throw new SkippedBench('too large for a software adapter');
    }
    const count = scrubbed.size / 4;
    const workgroups = grid(Math.ceil(count / 1024));
    const bindings = [scrubbed, sink];
    const scrub = () =>
      device.run({ kernel: 'bench/scrub', label: SCRUB_LABEL, bindings, params: { count }, workgroups });
    const budget = (options.seconds ?? 1) * 1000;

    let times = await sample(device, work, scrub, 1);
    if (times[0]! < budget) {
      const perRun = await warmUp(device, work, scrub);
      times = await sample(device, work, scrub, Math.min(MAX_SAMPLES, Math.max(3, Math.floor(budget / perRun))));
    }
    const seconds = median(times) / 1e3;
    const result = {
      name,
      variant,
      shape,
      microseconds: seconds * 1e6,
      tflops: work.flops / seconds / 1e12,
      gbps: work.bytes / seconds / 1e9,
      samples: times.length,
    };
    return options.ceiling === undefined ? result : { ...result, ...share(result, options.ceiling) };
  } finally {
    for (const tensor of [scrubbed, sink]) device.dispose(tensor);
    work.dispose?.();
    device.trim();
  }
}

function share(result: KernelResult, ceiling: Ceiling): { ceiling: 'memory' | 'f32'; shareOfCeiling: number } {
  const memory = result.gbps / ceiling.gbps;
  const f32 = result.tflops / ceiling.tflops;
  return memory >= f32 ? { ceiling: 'memory', shareOfCeiling: memory } : { ceiling: 'f32', shareOfCeiling: f32 };
}

import { compare } from '../models/reference.ts';
import { type Device, grid } from '../tensor/device.ts';
import { DryDevice } from '../tensor/dry_device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Span } from '../tensor/profiler.ts';
import { totalWork, type Work } from '../tensor/work.ts';
import { type KernelBench, SkippedBench } from './kernel_bench.ts';
import type { Ceiling, Row } from './report.ts';
import { shareOf } from './roofline.ts';
import { anyValues } from './values.ts';

/** How `measure` works. */
export interface MeasureOptions {
  /** Adds the share of this ceiling to the result. */
  readonly ceiling?: Ceiling;
  /** Bound on the measuring time; 1 unless given. */
  readonly seconds?: number;
  /** Times the reduced shape instead. */
  readonly isReduced?: boolean;
}

const WARM_UP_MS = 50;
const MAX_SAMPLES = 500;
/** Work that a software adapter is still asked to do in one run. */
const SOFTWARE_FLOPS = 2e9;
const SOFTWARE_BYTES = 256e6;
/** More than any cache: read before every sample, so that operands come from memory as they do in a model, where other layers ran in between. */
const SCRUB_BYTES = 256 * 2 ** 20;
const SCRUB_LABEL = 'bench/read: caches emptied';

/** GPU time of one run, and what it had to do. */
interface Sample {
  readonly milliseconds: number;
  readonly work: Work;
  readonly usesMatrices: boolean;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Times `count` runs with timestamps, with the caches emptied before each. */
async function sample(device: Device, record: () => void, scrub: () => void, count: number): Promise<Sample[]> {
  const profiler = await device.profile(async () => {
    for (let i = 0; i < count; i++) {
      scrub();
      record();
    }
  });
  await device.finish();
  await profiler.summary();
  profiler.destroy();
  const runs: Span[][] = [];
  for (const span of profiler.spans.toSorted((a, b) => a.begin - b.begin)) {
    if (span.label === SCRUB_LABEL) runs.push([]);
    else runs.at(-1)!.push(span);
  }
  return runs.map((spans) => ({
    milliseconds: spans.reduce((sum, { begin, end }) => sum + (end - begin) / 1e6, 0),
    work: totalWork(spans),
    usesMatrices: spans.some(({ usesMatrices }) => usesMatrices),
  }));
}

/** Keeps the GPU busy for the warm-up time and returns the milliseconds that one scrub and run took. */
async function warmUp(device: Device, record: () => void, scrub: () => void): Promise<number> {
  const started = performance.now();
  for (let count = 8; ; count += 8) {
    for (let i = 0; i < 8; i++) {
      scrub();
      record();
    }
    await device.finish();
    const elapsed = performance.now() - started;
    if (elapsed >= WARM_UP_MS) return elapsed / count;
  }
}

/** Whether a software adapter would take too long, found without running it. */
function isTooLarge(device: Device, bench: KernelBench): boolean {
  if (!device.opened.isSoftware) return false;
  const dry = new DryDevice(device.opened);
  const run = bench.setup(dry, false);
  dry.take();
  dry.tidy(() => void run.run());
  const { work } = dry.take();
  return work.flops > SOFTWARE_FLOPS || work.bytes > SOFTWARE_BYTES;
}

/** The row of a benchmark that has not been timed. */
export function untimedRow({ name, variant, shape }: KernelBench): Row {
  return { name, variant, shape };
}

/**
 * Times one benchmark by GPU timestamps: at least 50 ms of warm-up, since GPUs idle down while a pipeline compiles, then the median of
 * as many runs as fit the bound. Only dispatches are timed, not copies or clears.
 * @throws SkippedBench when it is too large for a software adapter, and whatever `setup` and `run` throw
 */
export async function measure(device: Device, bench: KernelBench, options: MeasureOptions = {}): Promise<Row> {
  const { isReduced = false } = options;
  if (!isReduced && isTooLarge(device, bench)) throw new SkippedBench('too large for a software adapter');
  await bench.prepare?.(device, isReduced);
  const run = bench.setup(device, isReduced);
  const record = () => device.tidy(() => void run.run());
  const scrubbed = device.tensor([device.opened.isSoftware ? 4096 : SCRUB_BYTES / 4], 'u32');
  const sink = device.tensor([1], 'u32');
  try {
    const count = scrubbed.size / 4;
    const workgroups = grid(Math.ceil(count / 1024));
    const bindings = [scrubbed, sink];
    const scrub = () =>
      device.run({ kernel: 'bench/read', label: SCRUB_LABEL, bindings, params: { count }, workgroups });
    const budget = (options.seconds ?? 1) * 1000;

    let samples = await sample(device, record, scrub, 1);
    if (samples[0]!.milliseconds < budget) {
      const perRun = await warmUp(device, record, scrub);
      const fitting = Math.min(MAX_SAMPLES, Math.max(3, Math.floor(budget / perRun)));
      samples = await sample(device, record, scrub, fitting);
    }
    const milliseconds = median(samples.map((one) => one.milliseconds));
    const { work, usesMatrices } = { ...samples[0]!, ...(run.work && { work: run.work }) };
    return {
      ...untimedRow(bench),
      milliseconds,
      samples: samples.length,
      tflops: work.flops / milliseconds / 1e9,
      gbps: work.bytes / milliseconds / 1e6,
      ...(options.ceiling && shareOf(work, milliseconds, usesMatrices, options.ceiling)),
    };
  } finally {
    for (const tensor of [scrubbed, sink, ...run.operands]) device.dispose(tensor);
    device.trim();
  }
}

/** The relative L2 error of one benchmark's result at its reduced shape against the CPU twin. */
export async function measureError(device: Device, bench: KernelBench): Promise<Pick<Row, 'error' | 'errorShape'>> {
  await bench.prepare?.(device, true);
  const run = bench.setup(device, true);
  try {
    const expected = await run.expected();
    const result = device.tidy(() => run.run());
    const actual = await anyValues(result);
    if (actual.length !== expected.length) {
      throw new KernelError(`${bench.name}: ${actual.length} values where the CPU twin has ${expected.length}`);
    }
    const error = compare(actual, expected).relativeL2;
    if (Number.isNaN(error)) throw new KernelError(`${bench.name}: results that are not finite`);
    if (!run.operands.includes(result)) device.dispose(result);
    return { error, errorShape: bench.reducedShape };
  } finally {
    for (const tensor of run.operands) device.dispose(tensor);
    device.trim();
  }
}

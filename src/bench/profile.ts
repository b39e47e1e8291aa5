import type { Device } from '../tensor/device.ts';
import type { LabelTime } from '../tensor/profiler.ts';
import type { ModelWork } from './model_work.ts';
import type { Ceiling, Row } from './report.ts';
import { floorOf, shareOf } from './roofline.ts';
import type { TracedPass } from './trace.ts';

/** GPU time of one pass of a model. */
export interface Profile extends TracedPass {
  readonly name: string;
  readonly shape: string;
  /** By kernel label, the longest first. */
  readonly labels: readonly LabelTime[];
  /** From the first kernel's begin to the last one's end, pauses included; timestamps themselves make these longer. */
  readonly elapsed: number;
}

/** Profiles one pass, after one that is not counted. @throws DeviceError without timestamp queries */
export async function profileWork(device: Device, work: ModelWork): Promise<Profile> {
  const prepared = await work.prepare();
  try {
    await prepared.run();
    await device.finish();
    const profiler = await device.profile(() => prepared.run());
    await device.finish();
    const labels = await profiler.summary();
    profiler.destroy();
    const spans = profiler.spans.toSorted((a, b) => a.begin - b.begin);
    const elapsed = Math.max(...spans.map(({ end }) => end)) - spans[0]!.begin;
    const { name, shape } = work;
    return { name, shape, title: `${name}, ${shape}`, labels, spans, elapsed: elapsed / 1e6 };
  } finally {
    prepared.release();
    device.trim();
  }
}

/** One row a label; `shape` names the pass. */
export function profileRows({ name, shape, labels }: Profile, ceiling: Ceiling): Row[] {
  return labels.map(({ label, count, milliseconds, flops, bytes, usesMatrices }) => ({
    name,
    variant: label,
    shape,
    milliseconds,
    count,
    flops,
    bytes,
    tflops: flops / milliseconds / 1e9,
    gbps: bytes / milliseconds / 1e6,
    ...shareOf({ flops, bytes }, milliseconds, usesMatrices, ceiling),
  }));
}

/** All labels together, against the sum of what the ceilings allow each of them. */
export function totalRow({ name, shape, labels }: Profile, ceiling: Ceiling): Row {
  const sum = (of: (label: LabelTime) => number) => labels.reduce((total, label) => total + of(label), 0);
  const milliseconds = sum((label) => label.milliseconds);
  const [flops, bytes] = [sum((label) => label.flops), sum((label) => label.bytes)];
  const floor = sum((label) => floorOf(label, label.usesMatrices, ceiling).milliseconds);
  return {
    name,
    variant: 'all kernels',
    shape,
    milliseconds,
    count: sum(({ count }) => count),
    flops,
    bytes,
    tflops: flops / milliseconds / 1e9,
    gbps: bytes / milliseconds / 1e6,
    shareOfCeiling: floor / milliseconds,
  };
}

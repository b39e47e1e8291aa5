import type { Ceiling, Report, Row } from '../../src/bench/report.ts';
import { type Bound, floorOf } from '../../src/bench/roofline.ts';

/** A rung at one shape, as a share of what the card could do at most. */
export interface Rung {
  readonly variant: string;
  readonly milliseconds: number;
  /** Floor of the work, on the fastest units the card has, divided by the time. */
  readonly share: number;
  /** In the ladder's unit. */
  readonly value: number;
  /** What is to be known of the measurement. */
  readonly note?: string | undefined;
}

/** The rungs of a kernel at one shape, in the order of the report: slowest idea first. */
export interface Ladder {
  readonly name: string;
  readonly shape: string;
  readonly bound: Bound;
  /** GB/s where memory is the floor, else TFLOP/s. */
  readonly unit: 'TFLOP/s' | 'GB/s';
  readonly rungs: readonly Rung[];
}

/** What the README shows of the kernels: name and shape. */
export const HIGHLIGHTS: readonly (readonly [string, string])[] = [
  ['matmul', '4096x4096x4096 bf16 weights'],
  ['matmul', '512x18432x2560 bf16 weights'],
  ['matmul', '2048x18432x2560 bf16 weights'],
  ['matmul', '8192x18432x2560 bf16 weights'],
  ['matmul', '4096x4096x4096 f16 weights'],
  ['matmul', '33312x4096x1024 f16 weights'],
  ['matmul', '33312x1024x4096 f16 weights'],
  ['matmul', '1x18432x2560 bf16 weights'],
  ['matmul', '1x2560x9216 bf16 weights'],
  ['matmul', '1x248320x2560 bf16 weights'],
  ['attention', '8192x8192, 16/16 heads of 64'],
  ['attention', '4096x4096, 16/4 heads of 256, causal'],
  ['attention', '16384x16384, 16/4 heads of 256, causal'],
  ['attention', '1x512, 16/4 heads of 256, causal'],
  ['attention', '1x32768, 16/4 heads of 256, causal'],
  ['gated_delta', 'T=8192, 32 value heads of 128'],
  ['gated_delta', 'T=8192, 48 value heads of 128'],
  ['gated_delta', 'T=1, 32 value heads of 128'],
  ['conv2d', '8x112x148 256>256 k3 s1'],
];

/** Three digits with thousands in full: 0.775, 89.3, 1,099. */
export function figure(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}

/** The rungs measured at a shape; undefined if there are none. */
export function ladderOf({ rows, ceiling }: Report, name: string, shape: string): Ladder | undefined {
  const measured = rows.filter((row) => row.name === name && row.shape === shape && row.milliseconds !== undefined);
  if (ceiling === undefined || measured.length === 0) return undefined;
  const { bound } = floor(measured[0]!, ceiling);
  const isMemory = bound === 'memory';
  const rungs = measured.map((row) => ({
    variant: row.variant,
    milliseconds: row.milliseconds!,
    share: floor(row, ceiling).milliseconds / row.milliseconds!,
    value: (isMemory ? row.gbps : row.tflops) ?? 0,
    note: row.note,
  }));
  return { name, shape, bound, unit: isMemory ? 'GB/s' : 'TFLOP/s', rungs };
}

/** What the card's fastest units would take for a row's work. */
function floor({ milliseconds = 0, tflops = 0, gbps = 0 }: Row, ceiling: Ceiling): ReturnType<typeof floorOf> {
  return floorOf({ flops: tflops * milliseconds * 1e9, bytes: gbps * milliseconds * 1e6 }, true, ceiling);
}

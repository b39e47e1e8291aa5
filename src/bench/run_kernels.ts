import { readdirSync } from 'node:fs';
import { InputError } from '../io/errors.ts';
import type { Device } from '../tensor/device.ts';
import { CEILING, ceilingBenches, ceilingOf } from './ceiling.ts';
import { type KernelBench, SkippedBench } from './kernel_bench.ts';
import { measure, measureError, untimedRow } from './measure.ts';
import { origin } from './origin.ts';
import type { Ceiling, Report, Row } from './report.ts';

/** What to measure, and who is told. */
export interface RunOptions {
  /** Opens the GPU: again after a kernel failed. */
  readonly open: () => Promise<Device>;
  /** Bound on the measuring time of one row, in seconds. */
  readonly seconds: number;
  /** Whether results are compared with the CPU twin. */
  readonly checkErrors: boolean;
  /** Ends the run after the row being measured. */
  readonly signal: AbortSignal;
  /** Called once the device is open, before anything is measured. */
  readonly onStart: (driver: string, all: readonly KernelBench[]) => void;
  readonly onRow: (row: Row) => void;
}

/** The benchmarks of every kernel: one file each in bench/kernels. */
export async function loadBenches(): Promise<KernelBench[]> {
  const folder = new URL('../../bench/kernels/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.bench.ts'));
  const modules = files.toSorted().map((name) => import(new URL(name, folder).href));
  return (await Promise.all(modules)).flatMap(({ benches }: { benches: readonly KernelBench[] }) => benches);
}

/** The benchmarks that `names` choose: a kernel (`matmul`) or one variant of it (`matmul/tiled`); all without names. @throws InputError */
export function chooseBenches(benches: readonly KernelBench[], names: readonly string[]): readonly KernelBench[] {
  const matches = ({ name, variant }: KernelBench, wanted: string) =>
    wanted === name || wanted === `${name}/${variant}`;
  for (const wanted of names) {
    if (wanted !== CEILING && !benches.some((bench) => matches(bench, wanted))) {
      const known = [...new Set([CEILING, ...benches.map(({ name }) => name)])].join(', ');
      throw new InputError(`bench kernels: expected names among ${known}, or NAME/VARIANT, found "${wanted}".`);
    }
  }
  return names.length === 0 ? benches : benches.filter((bench) => names.some((wanted) => matches(bench, wanted)));
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
}

/** One benchmark's row; one that cannot run says why instead of when. */
async function measureRow(
  device: Device,
  bench: KernelBench,
  options: RunOptions,
  ceiling: Ceiling | undefined,
): Promise<{ row: Row; failed: boolean }> {
  let row = untimedRow(bench);
  try {
    try {
      row = await measure(device, bench, { seconds: options.seconds, ...(ceiling && { ceiling }) });
    } catch (error) {
      if (!(error instanceof SkippedBench)) throw error;
      row = { ...row, note: error.message };
    }
    if (options.checkErrors && bench.reducedShape !== '') row = { ...row, ...(await measureError(device, bench)) };
    return { row, failed: false };
  } catch (error) {
    if (error instanceof SkippedBench) return { row: { ...row, note: error.message }, failed: false };
    return { row: { ...row, note: `failed: ${firstLine(error)}` }, failed: true };
  }
}

/**
 * Measures the ceilings, then the benchmarks one after the other. One that fails does not stop the rest. @returns the report, and how many failed
 */
export async function runKernels(
  benches: readonly KernelBench[],
  options: RunOptions,
): Promise<{ report: Report; failures: number }> {
  let device = await options.open();
  try {
    const from = origin(device.opened);
    const all = [...(await ceilingBenches(device)), ...benches];
    options.onStart(device.opened.name, all);
    const rows: Row[] = [];
    let failures = 0;
    for (const bench of all) {
      if (options.signal.aborted) break;
      const { row, failed } = await measureRow(device, bench, options, ceilingOf(rows));
      rows.push(row);
      options.onRow(row);
      if (!failed) continue;
      failures += 1;
      device.destroy(); // a failed device reports its first error for ever
      device = await options.open();
    }
    const ceiling = ceilingOf(rows);
    return { report: { kind: 'kernels', ...from, ...(ceiling && { ceiling }), rows }, failures };
  } finally {
    device.destroy();
  }
}

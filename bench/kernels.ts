/**
 * Benchmarks of the kernels: `npx tsx bench/kernels.ts [NAME[/VARIANT]...] [--json FILE]`. Prints one row per kernel, variant and shape
 * with its share of the nearer measured ceiling. One that fails does not stop the rest; the exit code is 1 then.
 */
import { readdirSync, renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { InputError } from '../src/io/errors.ts';
import { Device } from '../src/tensor/device.ts';
import { DeviceError } from '../src/tensor/errors.ts';
import { measureCeiling } from './ceiling.ts';
import { type Ceiling, type KernelBench, type KernelResult, measure, SkippedBench } from './harness.ts';

interface Failure {
  readonly name: string;
  readonly variant: string;
  readonly shape: string;
  readonly note: string;
  readonly skipped: boolean;
}

const FOLDER = new URL('./kernels/', import.meta.url);

/** The benchmarks of every file of bench/kernels; a file that cannot be loaded becomes a failure. */
async function loadBenches(): Promise<{ benches: KernelBench[]; failures: Failure[] }> {
  const benches: KernelBench[] = [];
  const failures: Failure[] = [];
  for (const file of readdirSync(FOLDER).toSorted()) {
    if (!file.endsWith('.bench.ts')) continue;
    try {
      const module = (await import(new URL(file, FOLDER).href)) as { benches: readonly KernelBench[] };
      benches.push(...module.benches);
    } catch (error) {
      const note = `cannot be loaded: ${firstLine(error)}`;
      failures.push({ name: file, variant: '', shape: '', note, skipped: false });
    }
  }
  return { benches, failures };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
}

/** The benchmarks that `names` choose: a kernel (`matmul`) or one variant of it (`matmul/tiled`). */
function choose(benches: readonly KernelBench[], names: readonly string[]): readonly KernelBench[] {
  for (const name of names) {
    if (!benches.some((bench) => matches(bench, name))) {
      const known = [...new Set(benches.map((bench) => bench.name))].join(', ');
      throw new InputError(`there is no benchmark "${name}"; there are ${known}`);
    }
  }
  return names.length === 0 ? benches : benches.filter((bench) => names.some((name) => matches(bench, name)));
}

function matches({ name, variant }: KernelBench, wanted: string): boolean {
  return wanted === name || wanted === `${name}/${variant}`;
}

const WIDTHS = [22, 20, 34] as const;

function columns(name: string, variant: string, shape: string): string {
  return [name, variant, shape].map((text, i) => text.padEnd(WIDTHS[i]!)).join(' ');
}

function row(result: KernelResult): string {
  const numbers = [result.microseconds.toFixed(1), result.tflops.toFixed(3), result.gbps.toFixed(1)];
  const share =
    result.shareOfCeiling === undefined ? '' : `${(100 * result.shareOfCeiling).toFixed(1)} % ${result.ceiling}`;
  return `${columns(result.name, result.variant, result.shape)}${numbers.map((n) => n.padStart(12)).join('')}  ${share.padStart(15)}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function measureAll(benches: readonly KernelBench[], failures: Failure[]) {
  let device = await Device.open();
  try {
    const adapter = device.opened.name;
    print(adapter);
    print(
      `${columns('kernel', 'variant', 'shape')}${['us', 'TFLOP/s', 'GB/s'].map((n) => n.padStart(12)).join('')}  of the ceiling`,
    );
    const measured = await measureCeiling(device);
    const ceiling: Ceiling = measured.ceiling;
    for (const result of measured.results) print(row(result));
    for (const { name, variant, shape, note } of failures) print(`${columns(name, variant, shape)}  ${note}`);
    const results: KernelResult[] = [];
    for (const bench of benches) {
      const { name, variant, shape } = bench;
      try {
        const result = await measure(device, bench, { ceiling });
        results.push(result);
        print(row(result));
      } catch (error) {
        const skipped = error instanceof SkippedBench;
        failures.push({ name, variant, shape, note: firstLine(error), skipped });
        print(`${columns(name, variant, shape)}  ${skipped ? 'skipped' : 'failed'}: ${firstLine(error)}`);
        if (skipped) continue;
        device.destroy(); // a failed device reports its first error for ever
        device = await Device.open();
      }
    }
    return { adapter, ceiling, results, failures };
  } finally {
    device.destroy();
  }
}

function readArguments() {
  try {
    return parseArgs({ options: { json: { type: 'string' } }, allowPositionals: true });
  } catch (error) {
    throw new InputError(firstLine(error));
  }
}

async function main(): Promise<void> {
  const { values, positionals } = readArguments();
  const { benches, failures } = await loadBenches();
  const report = await measureAll(choose(benches, positionals), failures);
  if (values.json !== undefined) {
    writeFileSync(`${values.json}.partial`, `${JSON.stringify(report, null, 2)}\n`);
    renameSync(`${values.json}.partial`, values.json);
  }
  if (failures.some(({ skipped }) => !skipped)) process.exitCode = 1;
}

main().catch((error: unknown) => {
  const isUsage = error instanceof InputError || error instanceof DeviceError;
  process.stderr.write(`${isUsage ? firstLine(error) : (error as Error).stack}\n`);
  process.exitCode = isUsage ? 2 : 1;
});

import type { Command } from 'commander';
import { chooseBenches, loadBenches, runKernels } from '../bench/run_kernels.ts';
import { addOutputFlags, BenchOutput, type OutputFlags } from './bench_output.ts';
import { BenchTable, KERNEL_COLUMNS } from './bench_table.ts';
import { withInterrupt } from './interrupt.ts';
import { openDevice } from './session.ts';
import { decimal } from './values.ts';

interface KernelFlags extends OutputFlags {
  readonly seconds: number;
  readonly check: boolean;
}

const HELP = `
Columns: the median GPU time of one run with empty caches; TFLOP/s and GB/s from what the operation cannot do without (every operand and the
result once); the share of the nearer ceiling, which the first rows measure: bandwidth of a copy (memory), f32 multiply-adds in registers
(f32), products of subgroup matrices in registers (matrix); and the error: relative L2 distance to the naive CPU twin of test/reference, asked
at a smaller shape of the same variant that --json names. What a software adapter would take too long for is not timed, only checked.

--compare prints time now / time then and marks what is more than 5 % (or --fail-on-regression) slower. Against a report of another engine it
takes that engine's fastest row of the same kernel and shape.

Examples:
  $ spatialstack bench kernels
  $ spatialstack bench kernels matmul attention/flash_matrix --json now.json
  $ spatialstack bench kernels matmul --compare before.json --fail-on-regression 5

Exit code: 0 measured, 1 a kernel failed or got slower than --fail-on-regression allows, 2 wrong usage, 130 ended by Ctrl-C (what was measured is written).`;

/** Adds `bench kernels`. */
export function addBenchKernels(bench: Command, exit: (code: number) => void): void {
  const command = bench
    .command('kernels')
    .summary('time every variant of the kernels beside the measured ceilings')
    .description('Times the kernels, all variants at several shapes, beside what the device can do at most.')
    .argument('[name...]', 'kernels (matmul) or variants (matmul/tiled); all unless given')
    .option('--seconds <s>', 'bound on the measuring time of a row', decimal('--seconds', 0, 3600, { above: true }), 1)
    .option('--no-check', 'do not compare results with the CPU twins');
  addOutputFlags(command)
    .addHelpText('after', HELP)
    .action(async (names: string[], flags: KernelFlags) => exit(await benchKernels(names, flags)));
}

/** Runs `bench kernels`. @returns the exit code */
async function benchKernels(names: readonly string[], flags: KernelFlags): Promise<number> {
  const output = await BenchOutput.open(flags, 'kernels');
  const benches = chooseBenches(await loadBenches(), names);
  const controller = new AbortController();
  output.onClosed = () => controller.abort();
  let table: BenchTable;
  const { report, failures } = await withInterrupt(controller, () =>
    runKernels(benches, {
      open: openDevice,
      seconds: flags.seconds,
      checkErrors: flags.check,
      signal: controller.signal,
      onStart: (driver, all) => {
        table = new BenchTable(['kernel', 'variant', 'shape'], all, KERNEL_COLUMNS, output.comparison);
        output.line(driver);
        output.line(table.header);
      },
      onRow: (row) => output.row(table, row),
    }),
  );
  return output.finish(report, { failures, isInterrupted: controller.signal.aborted });
}

import type { Command } from 'commander';
import { ceilingBenches, ceilingOf } from '../bench/ceiling.ts';
import { SkippedBench } from '../bench/kernel_bench.ts';
import { measure } from '../bench/measure.ts';
import type { ModelSizes } from '../bench/model_work.ts';
import { origin } from '../bench/origin.ts';
import { type Profile, profileRows, profileWork, totalRow } from '../bench/profile.ts';
import type { Ceiling, Row } from '../bench/report.ts';
import { checkWritable } from '../io/output_file.ts';
import type { Device } from '../tensor/device.ts';
import { addModelFlags, loadBenched, type ModelFlags, sizesOf, writeTrace } from './bench_model_flags.ts';
import { addOutputFlags, BenchOutput, type OutputFlags } from './bench_output.ts';
import { BenchTable, profileColumns, time } from './bench_table.ts';
import { withInterrupt } from './interrupt.ts';
import { Progress } from './progress.ts';
import { findModel, nameOf, withDevice } from './session.ts';

/** VGGT has nothing else to profile than frames. */
const SIZES: ModelSizes = { lengths: [512], contexts: [512], pictures: [], frames: [1] };
const SOFTWARE_SIZES: ModelSizes = { ...SIZES, lengths: [64], contexts: [64] };

const HELP = `
For each pass a table by kernel label, the longest first: dispatches, GPU time and its part of all, FLOPs and bytes that the kernel cannot do without,
their rates, and the share of the nearer ceiling, which is measured first: copy bandwidth (memory), f32 multiply-adds (f32) or products of subgroup
matrices (matrix). Below it, the time from the first kernel's begin to the last one's end: every dispatch is a pass of its own while timestamps are
taken, so that pauses are longer than otherwise.

Examples:
  $ spatialstack bench profile --model-path nano
  $ spatialstack bench profile --model-path SpatialStack-Qwen3.5-4B --lengths 2048 --contexts 512,32768 --pictures 8 --frames 8 --trace trace.json

Exit code: 0 profiled, 1 failed while running or slower than --fail-on-regression allows, 2 wrong usage or input.`;

/** Adds `bench profile`. */
export function addBenchProfile(bench: Command, exit: (code: number) => void): void {
  const command = bench
    .command('profile')
    .summary('GPU time by kernel of a prefill and a decoding step, against the roofline')
    .description('Profiles passes of a Qwen3.5, SpatialStack or VGGT checkpoint by kernel, from GPU timestamps.');
  addModelFlags(command, { lengths: '512', contexts: '512', pictures: 'none', frames: '1' });
  addOutputFlags(command)
    .addHelpText('after', HELP)
    .action(async (flags: ModelFlags & OutputFlags) => exit(await benchProfile(flags)));
}

/** Runs `bench profile`. @returns the exit code */
async function benchProfile(flags: ModelFlags & OutputFlags): Promise<number> {
  const output = await BenchOutput.open(flags, 'profile');
  if (flags.trace !== undefined) await checkWritable('--trace', flags.trace);
  const progress = new Progress(false);
  const path = await findModel(flags.modelPath, progress);
  const controller = new AbortController();
  output.onClosed = () => controller.abort();
  return withDevice(async (device) => {
    const sizes = sizesOf(flags, device.opened.isSoftware ? SOFTWARE_SIZES : SIZES);
    const ceiling = await measureCeiling(device);
    const onProgress = progress.transfer(`loading ${nameOf(path)}`);
    const model = await loadBenched(device, path, flags, sizes, onProgress);
    output.line(`${device.opened.name}: ${nameOf(path)} (${model.kind}), ${flags.dtype}`);
    const [rows, profiles]: [Row[], Profile[]] = [[], []];
    await withInterrupt(controller, async () => {
      for (const work of model.works) {
        const isWhole = work.name !== 'first token' && !work.name.endsWith('head');
        if (!isWhole || work.refusal !== undefined || controller.signal.aborted) continue;
        const profile = await profileWork(device, work);
        profiles.push(profile);
        rows.push(...printProfile(profile, ceiling, output));
      }
    });
    if (flags.trace !== undefined) await writeTrace(flags.trace, device, profiles);
    await model.close();
    const about = { model: model.kind, dtype: flags.dtype, ceiling };
    return output.finish(
      { kind: 'profile', ...origin(device.opened), ...about, rows },
      { isInterrupted: controller.signal.aborted },
    );
  });
}

async function measureCeiling(device: Device): Promise<Ceiling> {
  const rows: Row[] = [];
  for (const bench of await ceilingBenches(device)) {
    try {
      rows.push(await measure(device, bench));
    } catch (error) {
      if (!(error instanceof SkippedBench)) throw error;
    }
  }
  return ceilingOf(rows)!;
}

/** Prints a pass and returns its rows. */
function printProfile(profile: Profile, ceiling: Ceiling, output: BenchOutput): Row[] {
  const rows = profileRows(profile, ceiling);
  const total = totalRow(profile, ceiling);
  const table = new BenchTable(
    ['pass', 'kernel', 'size'],
    [...rows, total],
    profileColumns(total.milliseconds!),
    output.comparison,
  );
  output.line('');
  output.line(table.header);
  for (const row of [...rows, total]) output.row(table, row);
  output.line(`${profile.title}: ${time(profile.elapsed)} from begin to end`);
  return [...rows, total];
}

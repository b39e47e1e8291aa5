import type { Command } from 'commander';
import type { BenchedModel, ModelSizes } from '../bench/model_work.ts';
import { origin } from '../bench/origin.ts';
import { type Profile, profileWork } from '../bench/profile.ts';
import { runModel } from '../bench/run_model.ts';
import { checkWritable } from '../io/output_file.ts';
import type { Device } from '../tensor/device.ts';
import { addModelFlags, loadBenched, type ModelFlags, sizesOf, writeTrace } from './bench_model_flags.ts';
import { addOutputFlags, BenchOutput, type OutputFlags } from './bench_output.ts';
import { BenchTable, MODEL_COLUMNS } from './bench_table.ts';
import { withInterrupt } from './interrupt.ts';
import { Progress } from './progress.ts';
import { findModel, nameOf, withDevice } from './session.ts';

const SIZES: ModelSizes = {
  lengths: [512, 2048, 8192],
  contexts: [512, 32768],
  pictures: [1, 8, 32],
  frames: [1, 8, 32],
};
/** What two cores can do in a minute or so. */
const SOFTWARE_SIZES: ModelSizes = { lengths: [64], contexts: [64], pictures: [1], frames: [1] };

const HELP = `
Rows: loading; the first token of the first prompt, while no kernel is compiled (drivers may keep compiled kernels of earlier runs); the first token again;
prefill by length; decode by context, in milliseconds a token while several are in flight; the vision tower by pictures of 512x384; VGGT's aggregator and
heads (16 points tracked) by frames of 518x392. Prompts and pictures are random. Times are by the clock, the GPU idle before and after, the best of three after one more run;
peak memory is what was allocated at most during a row, weights included, and of what is held: that over the most that weights, caches and activations
asked for at a time. --pictures also says how many go into the prompts of the first token. A checkpoint of random weights does:
bench/peers/make_checkpoint.py writes them.

--trace writes, after the measurements, one pass of each kind at its first size, by kernel label, from GPU timestamps.

Examples:
  $ spatialstack bench model --model-path nano
  $ spatialstack bench model --model-path Qwen3.5-4B --lengths 512,2048 --contexts none --json now.json --compare pytorch.json
  $ spatialstack bench model --model-path VGGT-1B --frames 8 --trace trace.json

Exit code: 0 measured, 1 a row failed or got slower than --fail-on-regression allows, 2 wrong usage or input, 130 ended by Ctrl-C (what was measured is
written).`;

/** Adds `bench model`. */
export function addBenchModel(bench: Command, exit: (code: number) => void): void {
  const command = bench
    .command('model')
    .summary('time a whole model: load, prefill, decode, vision, geometry, first token')
    .description('Times the parts of a Qwen3.5, SpatialStack or VGGT checkpoint.');
  addModelFlags(command, {
    lengths: SIZES.lengths.join(','),
    contexts: SIZES.contexts.join(','),
    pictures: SIZES.pictures.join(','),
    frames: `${SIZES.frames.join(',')}; on a software GPU one of each, and short`,
  });
  addOutputFlags(command)
    .addHelpText('after', HELP)
    .action(async (flags: ModelFlags & OutputFlags) => exit(await benchModel(flags)));
}

/** Runs `bench model`. @returns the exit code */
async function benchModel(flags: ModelFlags & OutputFlags): Promise<number> {
  const output = await BenchOutput.open(flags, 'model');
  if (flags.trace !== undefined) await checkWritable('--trace', flags.trace);
  const progress = new Progress(false);
  const path = await findModel(flags.modelPath, progress);
  const controller = new AbortController();
  output.onClosed = () => controller.abort();
  return withDevice(async (device) => {
    const sizes = sizesOf(flags, device.opened.isSoftware ? SOFTWARE_SIZES : SIZES);
    let table: BenchTable;
    const { model, rows, failures } = await withInterrupt(controller, () =>
      runModel(device, {
        load: (on, onProgress) => loadBenched(on, path, flags, sizes, onProgress),
        onProgress: progress.transfer(`loading ${nameOf(path)}`),
        signal: controller.signal,
        onStart: ({ kind }, all) => {
          table = new BenchTable(['work', 'model', 'size'], all, MODEL_COLUMNS, output.comparison);
          output.line(`${device.opened.name}: ${nameOf(path)} (${kind}), ${flags.dtype}`);
          output.line(table.header);
        },
        onRow: (row) => output.row(table, row),
      }),
    );
    const isInterrupted = controller.signal.aborted;
    if (flags.trace !== undefined && failures === 0 && !isInterrupted) {
      await writeTrace(flags.trace, device, await tracePasses(device, model));
    }
    await model.close();
    const report = { kind: 'model', ...origin(device.opened), model: model.kind, dtype: flags.dtype, rows } as const;
    return output.finish(report, { failures, isInterrupted });
  });
}

/** One pass of each kind, at its first size. */
async function tracePasses(device: Device, { works }: BenchedModel): Promise<Profile[]> {
  const profiles: Profile[] = [];
  for (const work of works) {
    const isWhole = !work.name.endsWith('head') && work.name !== 'first token';
    if (!isWhole || work.refusal !== undefined || profiles.some(({ name }) => name === work.name)) continue;
    profiles.push(await profileWork(device, work));
  }
  return profiles;
}

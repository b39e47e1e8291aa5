import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { ModelAnswerer } from '../eval/answerer.ts';
import { findBenchmarks } from '../eval/benchmarks.ts';
import { evaluateShard, type ShardTimes } from '../eval/evaluate.ts';
import { JOURNAL, journalPath, type Shard } from '../eval/journal.ts';
import { mergeRun, readRun } from '../eval/merge.ts';
import { stripThinking } from '../eval/model_args.ts';
import { countDocuments, tasksInOrder } from '../eval/plan.ts';
import { PreparationPool } from '../eval/preparation_pool.ts';
import { dateStamp } from '../eval/results.ts';
import { agreeOnRun, type RunFile } from '../eval/run_file.ts';
import { InputError } from '../io/errors.ts';
import { loadLanguageModel } from '../models/load.ts';
import { hardwareAdapters } from '../tensor/adapters.ts';
import { Device } from '../tensor/device.ts';
import type { EvalFlags } from './eval.ts';
import { launchRanks } from './eval_launch.ts';
import { tell } from './eval_merge.ts';
import { EvalProgress } from './eval_progress.ts';
import { readRanks } from './eval_ranks.ts';
import { type EvalSettings, readEvalSettings } from './eval_settings.ts';
import { duration } from './format.ts';
import { INTERRUPTED, withInterrupt } from './interrupt.ts';
import { isVggt } from './model_kind.ts';
import { Progress } from './progress.ts';
import { findModel, nameOf } from './session.ts';

/** The local date as `date +%Y%m%d` writes it. */
function today(): string {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  return dateStamp(new Date(), timeZone).slice(0, 8);
}

/** What the runs of one process share. */
interface Session {
  readonly flags: EvalFlags;
  readonly settings: EvalSettings;
  readonly shard: Shard;
  readonly pool: PreparationPool;
  readonly answerer: ModelAnswerer;
  readonly progress: Progress;
}

/** Runs `eval` on a model, or starts the processes that do. @returns the exit code */
export async function runCommand(flags: EvalFlags): Promise<number> {
  const settings = readEvalSettings(flags, process.env, today());
  const { shards, firstLocal, isLauncher } = readRanks(flags, process.env);
  for (const { folder } of settings.runs) {
    for (const shard of shards) if (!flags.resume) await refuseStarted(folder, shard);
  }
  const progress = new Progress(flags.quiet === true);
  const modelFolder = await findModel(settings.model.pretrained, progress);
  if (await isVggt(modelFolder)) {
    throw new InputError(
      `${modelFolder}: expected a SpatialStack or Qwen3.5 checkpoint, found a VGGT, which answers no questions.`,
    );
  }
  const adapters = await adaptersOf(flags, shards, firstLocal);
  if (isLauncher) return launchRanks(shards, adapters);

  const { minPixels, maxPixels, maxNumFrames, addFrameIndex, disableThinking, geometryEncoderPath } = settings.model;
  const { datasetFolders, shuffle } = settings;
  const pool = new PreparationPool({
    modelFolder,
    pixelLimits: { minPixels, maxPixels },
    datasetFolders,
    shuffle,
    maxNumFrames,
    addFrameIndex,
    enableThinking: !disableThinking,
    system: flags.system,
  });
  const answerer = new ModelAnswerer(async () => {
    const device = await Device.open({ adapter: adapters[0] });
    const loaded = await loadLanguageModel(device, modelFolder, {
      dtype: flags.dtype,
      minPixels,
      maxPixels,
      ...(geometryEncoderPath !== undefined && { geometryEncoderPath }),
      ...progress.loading(nameOf(modelFolder)),
    });
    return { device, loaded };
  });
  try {
    for (const { folder, benchmarks } of settings.runs) {
      const session = { flags, settings, shard: shards[0]!, pool, answerer, progress };
      const code = await run(session, folder, benchmarks);
      if (code !== 0) return code;
    }
    return 0;
  } finally {
    await pool.close();
    answerer.close();
  }
}

/** Without --resume a folder's journals may only be those of the other processes of this run. @throws InputError */
async function refuseStarted(folder: string, { rank, world }: Shard): Promise<void> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => JOURNAL.test(name));
  const own = basename(journalPath(folder, { rank, world }));
  const found = names.find((name) => name === own || !name.endsWith(`-of-${world}.jsonl`));
  if (found === undefined) return;
  throw new InputError(
    `${folder}: expected a folder without an earlier run, found ${found} in it; --resume goes on with that run.`,
  );
}

/** The GPU of each process: the one asked for, or by turns where the machine has several. */
async function adaptersOf(
  { adapter }: EvalFlags,
  shards: readonly Shard[],
  firstLocal: number,
): Promise<(string | undefined)[]> {
  const isAlone = shards[0]!.world === 1;
  const gpus = adapter !== undefined || isAlone ? 0 : (await hardwareAdapters()).length;
  return shards.map((_, local) => adapter ?? (gpus > 1 ? String((firstLocal + local) % gpus) : undefined));
}

/** Does this process's part of one run, and writes the results if it was the last one missing. @returns the exit code */
async function run(session: Session, folder: string, benchmarks: readonly string[]): Promise<number> {
  const { flags, settings, shard, pool, answerer, progress } = session;
  const agreed = await agreeOnRun(folder, await describe(session, benchmarks));
  const controller = new AbortController();
  const end = progress.step('looking through the documents');
  const observer = new EvalProgress(progress);
  const times = await withInterrupt(controller, () =>
    evaluateShard({
      folder,
      run: agreed,
      shard,
      pool,
      answerer,
      cleaned: settings.model.stripThinking ? stripThinking : (text) => text,
      strict: flags.strict === true,
      signal: controller.signal,
      observer: {
        onMissing: (files, documents) => observer.onMissing(files, documents),
        onStart: (total, done) => {
          end();
          observer.onStart(total, done);
        },
        onDocument: (...document) => observer.onDocument(...document),
      },
    }),
  );
  if (controller.signal.aborted) {
    progress.line(`${folder}: the answers so far are kept; --resume goes on.`);
    return INTERRUPTED;
  }
  if (times.answered > 0) progress.line(timesLine(times));
  const { missing } = await readRun(folder, agreed);
  if (missing.size === 0) {
    progress.clear();
    tell(await mergeRun(folder));
  } else {
    const left = [...missing.values()].reduce((sum, ids) => sum + ids.length, 0);
    progress.line(`rank ${shard.rank} is done; ${left} documents of other ranks are not answered yet.`);
  }
  return 0;
}

async function describe({ flags, settings, pool }: Session, benchmarks: readonly string[]): Promise<RunFile> {
  const tasks = tasksInOrder(findBenchmarks(benchmarks));
  return {
    format: 1,
    benchmarks,
    model: 'qwen3_5',
    model_args: settings.modelArgs,
    model_name: settings.model.pretrained,
    dtype: flags.dtype,
    gen_kwargs: settings.genKwargs,
    limit: settings.limit ?? null,
    system: flags.system ?? null,
    shuffle: settings.shuffle,
    tasks: await countDocuments(tasks, settings.limit, (task) => pool.count(task)),
    date: dateStamp(new Date()),
    began: Date.now() / 1000,
  };
}

/** How well preparation kept up with the GPU. */
function timesLine({ answered, answering, waiting }: ShardTimes): string {
  const share = (100 * answering) / (answering + waiting);
  return `${duration((answering + waiting) / answered)} a document; the model was at work ${share.toFixed(1)} % of the time`;
}

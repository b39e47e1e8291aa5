import { join } from 'node:path';
import { answerSettings } from '../eval/answer_settings.ts';
import { findBenchmarks } from '../eval/benchmarks.ts';
import type { GivenFolders } from '../eval/locations.ts';
import { type ArgumentValue, type ModelArguments, parseKeyValues, parseModelArgs } from '../eval/model_args.ts';
import { type GenerationSettings, generationSettings } from '../eval/task_config.ts';
import { InputError } from '../io/errors.ts';
import { show } from '../io/strict_json.ts';
import type { EvalFlags } from './eval.ts';
import { pairs } from './eval_rescore.ts';
import { shareOrCount } from './values.ts';

/** What is to be run: one run for each folder, its benchmarks sorted by name. */
export interface EvalSettings {
  readonly runs: readonly { readonly folder: string; readonly benchmarks: readonly string[] }[];
  /** The adapter's arguments as a text, and what they mean. */
  readonly modelArgs: string;
  readonly model: ModelArguments;
  readonly genKwargs: GenerationSettings;
  readonly limit: number | undefined;
  readonly shuffle: boolean;
  readonly datasetFolders: GivenFolders;
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The benchmarks that the original's eval.sh runs unless told otherwise. */
const USUAL_BENCHMARKS = 'cvbench,blink_spatial,sparbench,videomme,mmsibench';

/** Reads flags and the variables of the original's eval.sh; flags come first. `today`: YYYYMMDD. @throws InputError */
export function readEvalSettings(flags: EvalFlags, env: Environment, today: string): EvalSettings {
  const implementation = env.MODEL_IMPL || 'qwen3_5';
  if (implementation !== 'qwen3_5') {
    throw new InputError(`MODEL_IMPL: expected qwen3_5, the only adapter there is, found ${show(implementation)}.`);
  }
  const modelArgs = modelArgsText(flags, env);
  const model = parseModelArgs(modelArgs);
  refuseUnsupported(model);
  const benchmarks = readBenchmarks(flags, env);
  const genKwargs = readGenKwargs(flags.genKwargs ?? env.GEN_KWARGS ?? '');
  for (const { config } of findBenchmarks(benchmarks).flatMap(({ tasks }) => tasks)) {
    answerSettings(generationSettings(config, genKwargs));
  }
  const output = env.OUTPUT_PATH || join(env.OUTPUT_ROOT || 'logs/eval', today);
  const limit = flags.limit ?? (env.LIMIT ? shareOrCount('LIMIT')(env.LIMIT) : undefined);
  return {
    runs:
      flags.outputDir === undefined
        ? benchmarks.map((name) => ({ folder: join(output, name), benchmarks: [name] }))
        : [{ folder: flags.outputDir, benchmarks }],
    modelArgs,
    model,
    genKwargs,
    limit,
    shuffle: env.LMMS_EVAL_SHUFFLE_DOCS !== undefined,
    datasetFolders: readDatasetFolders(flags.datasetDir ?? []),
  };
}

/** The list given (or eval.sh's usual one for MODEL_PATH), with what flags say in the place of its items or after them. */
function modelArgsText(flags: EvalFlags, env: Environment): string {
  const usual = env.MODEL_PATH
    ? `pretrained=${env.MODEL_PATH},use_flash_attention_2=true,max_num_frames=32,max_length=12800`
    : '';
  const extra = env.MODEL_ARGS_EXTRA ? `,${env.MODEL_ARGS_EXTRA}` : '';
  const given = flags.modelArgs ?? (env.MODEL_ARGS_BASE || (flags.modelPath === undefined ? usual : '')) + extra;
  const own: [key: string, value: string | number | undefined][] = [
    ['pretrained', flags.modelPath],
    ['max_num_frames', flags.maxNumFrames],
    ['max_length', flags.maxLength],
    ['add_frame_index', flags.addFrameIndex && 'true'],
    ['disable_thinking', flags.enableThinking && 'false'],
  ];
  const items = given.split(',').filter((item) => item !== '');
  for (const [key, value] of own) {
    if (value === undefined) continue;
    if (String(value).includes(','))
      throw new InputError(`--model-path: expected a path without commas, found ${show(value)}.`);
    const at = items.findIndex((item) => item.startsWith(`${key}=`));
    items.splice(at < 0 ? items.length : at, at < 0 ? 0 : 1, `${key}=${value}`);
  }
  if (items.length > 0) return items.join(',');
  throw new InputError('expected --model-path (or MODEL_PATH), found none.');
}

/** What the original can do and this cannot; what only changes its speed is accepted. */
function refuseUnsupported(model: ModelArguments): void {
  const refuse = (key: string, expected: string, found: unknown): never => {
    throw new InputError(`--model-args: ${key} must be ${expected}, found ${show(found)}.`);
  };
  if (model.batchSize !== 1) refuse('batch_size', '1', model.batchSize);
  if (model.useCustomVideoLoader) refuse('use_custom_video_loader', 'false, because there is one loader', true);
  if (model.fps !== undefined) refuse('fps', 'left out, because it belongs to the custom video loader', model.fps);
  if (model.maxImageSize !== undefined) {
    refuse('max_image_size', 'left out, because it belongs to the custom video loader', model.maxImageSize);
  }
  if (model.minPixels > model.maxPixels) {
    refuse('min_pixels', `at most max_pixels (${model.maxPixels})`, model.minPixels);
  }
}

function readBenchmarks(flags: EvalFlags, env: Environment): string[] {
  const isScripted = Boolean(env.MODEL_PATH || env.MODEL_ARGS_BASE);
  const text = flags.benchmarks ?? (env.BENCHMARKS || env.BENCHMARK || (isScripted ? USUAL_BENCHMARKS : ''));
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  if (names.length === 0) throw new InputError('expected --benchmarks (or BENCHMARKS), found none.');
  return findBenchmarks(names).map(({ name }) => name);
}

function readGenKwargs(text: string): Record<string, ArgumentValue> {
  return Object.fromEntries(parseKeyValues('--gen-kwargs', text));
}

/** @throws InputError for a name that is no task's and no group's */
function readDatasetFolders(items: readonly string[]): GivenFolders {
  const folders: Record<string, string> = {};
  for (const { name, path } of pairs('--dataset-dir', 'TASK=FOLDER', items)) {
    findBenchmarks([name]);
    folders[name] = path;
  }
  return folders;
}

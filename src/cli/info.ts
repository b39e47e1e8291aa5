import type { Command } from 'commander';
import { InputError } from '../io/errors.ts';
import { loadConfigJson } from '../io/json.ts';
import { Checkpoint } from '../io/safetensors.ts';
import type { DtypeName } from '../models/precision.ts';
import { parseQwen35Config, type Qwen35Config } from '../models/qwen3_5/config.ts';
import { listAdapters } from '../tensor/adapters.ts';
import type { Device } from '../tensor/device.ts';
import type { OpenedGpu } from '../tensor/gpu.ts';
import { summarise } from './checkpoint_summary.ts';
import { count, memory, table } from './format.ts';
import { kernelChoices } from './kernel_choices.ts';
import { estimateMemory } from './memory_estimate.ts';
import { isVggt } from './model_kind.ts';
import { Progress } from './progress.ts';
import { findModel, withDevice } from './session.ts';
import { StandardOutput } from './standard_output.ts';
import { dtype, nonEmpty, wholeNumber } from './values.ts';

interface InfoFlags {
  readonly modelPath?: string;
  readonly context: number;
  readonly dtype: DtypeName;
}

const HELP = `
Only the header of the checkpoint is read. The memory estimate comes from running the model on a device that allocates nothing and only counts.

Examples:
  $ spatialstack info
  $ spatialstack info --model-path nano --context 2048`;

/** Limits that decide what fits and how work is cut up. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
  'minStorageBufferOffsetAlignment',
] as const;

/** Adds the command `info`: the GPU, and a checkpoint. */
export function addInfoCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('info')
    .summary('show the GPU, the kernels it selects, and what a checkpoint holds and needs')
    .description(
      'Shows the adapter, its features and limits and the kernels they select; with --model-path also what the checkpoint holds and the memory it needs.',
    )
    .option(
      '--model-path <path>',
      'checkpoint folder or file, or a hub id',
      nonEmpty('--model-path', 'a folder, a file or a hub id'),
    )
    .option(
      '--context <tokens>',
      'tokens of prompt and answer for the memory estimate',
      wholeNumber('--context', 1, 2 ** 24),
      4096,
    )
    .option(
      '--dtype <name>',
      'precision for the memory estimate: bfloat16, float16 or float32',
      dtype,
      'bfloat16' as DtypeName,
    )
    .addHelpText('after', HELP)
    .action(async (flags: InfoFlags) => exit(await info(flags)));
}

/** Runs `info`. @returns the exit code */
async function info(flags: InfoFlags): Promise<number> {
  const path = flags.modelPath === undefined ? undefined : await findModel(flags.modelPath, new Progress(false));
  const model = path === undefined ? undefined : await readModel(path);
  return withDevice(async (device) => {
    const lines = [...describeGpu(device, await listAdapters()), '', ...describeKernels(device.opened)];
    if (path !== undefined && model !== undefined) {
      lines.push('', path, ...model.lines);
      if (model.config !== undefined)
        lines.push('', ...(await describeMemory(device.opened, path, model.config, flags)));
    }
    new StandardOutput().write(`${lines.join('\n')}\n`);
    return 0;
  });
}

async function readModel(path: string): Promise<{ lines: string[]; config: Qwen35Config | undefined }> {
  const checkpoint = await Checkpoint.open(path);
  try {
    const config = (await isVggt(path))
      ? undefined
      : parseQwen35Config(await loadConfigJson(path), `${path}/config.json`);
    return { lines: summarise(checkpoint), config };
  } finally {
    await checkpoint.close();
  }
}

function describeGpu({ opened, limits }: Device, adapters: readonly string[]): string[] {
  const { features, subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs } = opened;
  const matrices = subgroupMatrixConfigs.map(
    ({ M, N, K, componentType, resultComponentType }) => `${M}x${N}x${K} ${componentType} to ${resultComponentType}`,
  );
  return table([
    ['adapter', `${opened.name}${opened.isSoftware ? ' (software)' : ''}`],
    ['numbers for --adapter', adapters.map((name, i) => `${i} ${name}`).join(', ')],
    ['features', [...features].join(', ') || 'none'],
    ['subgroup size', features.has('subgroups') ? `${subgroupMinSize} to ${subgroupMaxSize}` : '-'],
    ['subgroup matrices', matrices.join(', ') || '-'],
    ...LIMITS.map((name) => [name, count(limits[name])]),
  ]);
}

function describeKernels(opened: OpenedGpu): string[] {
  const rows = kernelChoices(opened).map(({ operation, dtypes, kernels }) => [
    operation,
    dtypes.join(', '),
    kernels.join(', '),
  ]);
  return ['kernels for the sizes of Qwen3.5-4B', ...table(rows)];
}

async function describeMemory(
  opened: OpenedGpu,
  path: string,
  config: Qwen35Config,
  flags: InfoFlags,
): Promise<string[]> {
  const most = config.text.max_position_embeddings;
  if (flags.context > most)
    throw new InputError(`--context: expected at most the model's ${most} tokens, found ${flags.context}.`);
  const { weights, cache, text, picture } = await estimateMemory(opened, path, flags.dtype, flags.context);
  return [
    `GPU memory with a context of ${flags.context} tokens in ${flags.dtype}`,
    ...table([
      ['weights', memory(weights)],
      ['cache', memory(cache)],
      ['in all, text only', memory(text)],
      ...(picture === undefined ? [] : [['in all, with a picture of 1280 x 960', memory(picture)]]),
    ]),
  ];
}

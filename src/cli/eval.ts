import type { Command } from 'commander';
import { InputError } from '../io/errors.ts';
import type { DtypeName } from '../models/precision.ts';
import { mergeCommand } from './eval_merge.ts';
import { rescoreCommand } from './eval_rescore.ts';
import { runCommand } from './eval_run.ts';
import { dtype, nonEmpty, shareOrCount, wholeNumber } from './values.ts';

/** The flags of `eval` as commander names them. */
export interface EvalFlags {
  readonly modelPath?: string;
  readonly modelArgs?: string;
  readonly benchmarks?: string;
  readonly outputDir?: string;
  readonly datasetDir?: readonly string[];
  readonly limit?: number;
  readonly maxNumFrames?: number;
  readonly maxLength?: number;
  readonly addFrameIndex?: true;
  readonly enableThinking?: true;
  readonly genKwargs?: string;
  readonly system?: string;
  readonly dtype: DtypeName;
  readonly resume?: true;
  readonly strict?: true;
  readonly merge?: string;
  readonly rescore?: readonly string[];
  readonly numProcesses?: number;
  readonly rank?: number;
  readonly worldSize?: number;
  readonly adapter?: string;
  readonly quiet?: true;
}

const MAX_COUNT = 2 ** 31 - 1;

const HELP = `
Benchmarks: vsibench, vsibench_random200, cvbench, blink_spatial (three tasks, also by themselves: blink_multi_view_reasoning,
blink_relative_depth, blink_spatial_relation), sparbench, videomme, mmsibench; and nano, the questions of the nano checkpoint.

Datasets are read where the original looks for them: in the hub cache (HF_HOME, HF_HUB_CACHE), videos under HF_HOME/vsibench and
HF_HOME/videomme/data, blink in cache/datasets/BLINK-Benchmark__BLINK. --dataset-dir names another folder for a task: parquet files, JSON
lines or a saved dataset; videos and pictures that are files lie beside them. Files that are missing are listed before the first question.

Results: OUTPUT/MODEL/DATE_results.json and DATE_samples_TASK.jsonl. Where the original would write a bare NaN there stands null.
OUTPUT also holds run.json and a journal for each process, to which every answer is appended at once: after a kill, a crash or a lost GPU
the same command with --resume goes on, and ends in the same bytes. A document that fails is recorded with its reason under "errors" of the
results and does not count; --resume tries it again.

Several GPUs: one process for each. --num-processes starts them here; under srun the ranks are Slurm's (bench/slurm/eval.sbatch); each
asks documents number RANK, RANK + WORLD, ... The last one to finish writes the results; --merge does so at any time.

Environment, as in the original's eval.sh; flags come first: MODEL_PATH, MODEL_IMPL (only qwen3_5), MODEL_ARGS_BASE, MODEL_ARGS_EXTRA,
GEN_KWARGS, LIMIT, BENCHMARKS or BENCHMARK, OUTPUT_ROOT, OUTPUT_PATH (without --output-dir each benchmark is a run of its own in
OUTPUT_PATH/BENCHMARK), NUM_MACHINES, PROCESSES_PER_MACHINE, MACHINE_RANK, LMMS_EVAL_SHUFFLE_DOCS. MASTER_ADDR, MASTER_PORT, LMMS_EVAL_LAUNCHER,
CUDA_HOME and VERBOSITY have nothing to decide here: processes meet in the output folder only.

Examples:
  $ spatialstack eval --model-path nano --benchmarks nano --output-dir out
  $ spatialstack eval --model-path Journey9ni/SpatialStack-Qwen3.5-4B --benchmarks vsibench,cvbench --output-dir out --num-processes 8
  $ spatialstack eval --rescore vsibench=answers.jsonl --output-dir rescored
  $ spatialstack eval --merge out

Exit code: 0 done, 1 failed while running, 2 wrong usage or input, 130 ended by Ctrl-C (answers so far are kept).`;

/** Adds the command `eval`: benchmarks asked of a model, answers scored, runs merged. */
export function addEvalCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('eval')
    .summary('ask a model the questions of benchmarks and score its answers')
    .description(
      'Evaluates a SpatialStack or Qwen3.5 checkpoint on spatial benchmarks as the original does: the same documents, prompts, frames, scores and files.',
    )
    .option('--model-path <path>', 'checkpoint folder, or a hub id', nonEmpty('--model-path', 'a folder or a hub id'))
    .option(
      '--model-args <list>',
      "arguments of the original's adapter, key=value,key=value; other flags replace single ones",
    )
    .option('--benchmarks <names>', 'comma-separated names of benchmarks')
    .option(
      '--output-dir <folder>',
      'folder of the run (default: OUTPUT_PATH/BENCHMARK, with OUTPUT_PATH logs/eval/DATE)',
      nonEmpty('--output-dir', 'a folder'),
    )
    .option('--dataset-dir <task=folder>', "folder of a task's or a group's dataset; may be repeated", collect)
    .option('--limit <n>', 'ask the first n documents; below 1 this share of them', shareOrCount('--limit'))
    .option('--max-num-frames <n>', 'frames of a video (default: 32)', wholeNumber('--max-num-frames', 1, MAX_COUNT))
    .option(
      '--max-length <n>',
      'recorded only: in the original a prompt of more tokens is warned of, not cut',
      wholeNumber('--max-length', 1, MAX_COUNT),
    )
    .option('--add-frame-index', 'write "Frame-i: " before each frame of a video or each of several pictures')
    .option('--enable-thinking', 'let the model think before it answers')
    .option('--gen-kwargs <list>', "in place of the tasks' own: max_new_tokens, temperature, top_p")
    .option('--system <text>', 'system message (default: "You are a helpful assistant.")')
    .option('--dtype <name>', 'precision: bfloat16, float16 or float32', dtype, 'bfloat16' as DtypeName)
    .option('--resume', 'go on with the run in the output folder, or begin it if there is none')
    .option('--strict', 'stop at the first document that fails')
    .option(
      '--num-processes <n>',
      'start this many processes here, one for each GPU',
      wholeNumber('--num-processes', 1, 4096),
    )
    .option(
      '--rank <r>',
      "this process's number among --world-size; Slurm's unless given",
      wholeNumber('--rank', 0, MAX_COUNT),
    )
    .option('--world-size <w>', 'number of processes that share the run', wholeNumber('--world-size', 1, MAX_COUNT))
    .option(
      '--adapter <which>',
      'GPU: part of its name, or its number on this machine (default: the first; with several processes, by local rank)',
      nonEmpty('--adapter', 'a name or a number'),
    )
    .option('--merge <folder>', 'write the results of a run from its journals', nonEmpty('--merge', 'a folder'))
    .option('--rescore <task=file...>', 'score the answers in JSON lines files, without a model')
    .option('--quiet', 'no progress')
    .addHelpText('after', HELP)
    .action(async (flags: EvalFlags) => exit(await evaluate(flags)));
}

/** Runs `eval`. @returns the exit code */
async function evaluate(flags: EvalFlags): Promise<number> {
  if (flags.merge !== undefined && flags.rescore !== undefined) {
    throw new InputError('expected at most one of --merge and --rescore, found both.');
  }
  if (flags.merge !== undefined) return mergeCommand(flags.merge);
  if (flags.rescore !== undefined) return rescoreCommand(flags.rescore, flags.outputDir);
  return runCommand(flags);
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

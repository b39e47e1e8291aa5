import { performance } from 'node:perf_hooks';
import { type Benchmark, groupValues, inRunningOrder } from './benchmarks.ts';
import { type Sample, sha256, taskHash } from './samples.ts';
import type { Aggregate, Task } from './task.ts';
import { type GenerationSettings, generationSettings, metricNames } from './task_config.ts';

/** A task that was run over some of its documents. */
export interface TaskRun {
  readonly task: Task;
  /** Documents that the dataset has, and those that were asked. */
  readonly original: number;
  readonly effective: number;
  readonly aggregate: Aggregate;
  /** In document order. */
  readonly samples: readonly Sample[];
}

/** A benchmark with the runs of its tasks, in the benchmark's order. */
export interface BenchmarkRun {
  readonly benchmark: Benchmark;
  readonly tasks: readonly TaskRun[];
}

/** What a results file says about the run itself. */
export interface RunInfo {
  /** The kind of model, `qwen3_5`, and its comma-separated arguments as given. */
  readonly model: string;
  readonly modelArgs: string;
  /** The checkpoint: a folder or a name on the hub. */
  readonly modelName: string;
  readonly batchSize: string;
  readonly limit: number | null;
  /** Settings that replace those of the tasks; empty if none were given. */
  readonly genKwargs: GenerationSettings;
  readonly gitHash: string | null;
  /** See {@link dateStamp}. */
  readonly date: string;
  readonly systemInstruction: string | null;
  readonly chatTemplate: string | null;
  /** Seconds of {@link monotonicSeconds}. */
  readonly startTime: number;
  readonly endTime: number;
}

/** Values of a task by metric: `alias`, then `"{metric},none"` and `"{metric}_stderr,none"`. */
export type MetricValues = Record<string, string | number | readonly never[]>;

/** The content of a results file, in its order of keys. A value that is not a number is NaN here and null in the file. */
export interface ResultsDocument {
  readonly results: Readonly<Record<string, MetricValues>>;
  readonly groups?: Readonly<Record<string, MetricValues>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly 'n-shot': Readonly<Record<string, number>>;
  readonly [key: string]: unknown;
}

/** Builds the results of a whole run (spec "Output files"). `runs` are sorted by name, see findBenchmarks. */
export function resultsDocument(runs: readonly BenchmarkRun[], info: RunInfo): ResultsDocument {
  const taskRuns = runs.flatMap((run) => run.tasks);
  const groupRuns = runs.filter((run) => run.benchmark.isGroup);
  const named = runs.map((run) => ({ name: run.benchmark.name, tasks: run.tasks }));
  const runningOrder = inRunningOrder(named).flatMap((run) => run.tasks);
  const perTask = <Value>(value: (run: TaskRun) => Value, order = taskRuns) =>
    Object.fromEntries(order.map((run) => [run.task.name, value(run)]));
  return {
    results: Object.fromEntries(runs.flatMap(resultEntries)),
    ...(groupRuns.length === 0 ? {} : { groups: Object.fromEntries(groupRuns.map(groupEntry)) }),
    group_subtasks: Object.fromEntries(runs.map(({ benchmark }) => [benchmark.name, memberNames(benchmark)])),
    configs: sorted(perTask((run) => runConfig(run.task, info))),
    versions: sorted(perTask(() => 'Yaml')),
    'n-shot': sorted(perTask(() => 0)),
    higher_is_better: sorted({
      ...perTask((run) => higherIsBetter([run.task])),
      ...Object.fromEntries(groupRuns.map(({ benchmark }) => [benchmark.name, higherIsBetter(benchmark.tasks)])),
    }),
    'n-samples': perTask(({ original, effective }) => ({ original, effective }), runningOrder),
    config: runSettings(info),
    git_hash: info.gitHash,
    date: info.date,
    task_hashes: perTask((run) => taskHash(run.samples), runningOrder),
    model_source: info.model,
    model_name: info.modelName,
    model_name_sanitized: sanitizedModelName(info.modelName),
    system_instruction: info.systemInstruction,
    system_instruction_sha: info.systemInstruction === null ? null : sha256(info.systemInstruction),
    fewshot_as_multiturn: false,
    chat_template: info.chatTemplate,
    chat_template_sha: info.chatTemplate === null ? null : sha256(info.chatTemplate),
    start_time: info.startTime,
    end_time: info.endTime,
    total_evaluation_time_seconds: String(info.endTime - info.startTime),
  };
}

/** The text of a results file: indented by 2, what is not a number as null (the original writes a bare NaN). */
export function resultsText(document: ResultsDocument): string {
  return JSON.stringify(document, null, 2);
}

/** The last two parts of a checkpoint's path, without characters that file names cannot have: the folder of its results. */
export function sanitizedModelName(modelName: string): string {
  return modelName
    .split('/')
    .slice(-2)
    .join('/')
    .replace(/["<>:/|\\?*[\]]+/g, '__');
}

/** `YYYYMMDD_HHMMSS`, the start of a result file's name; the original's time zone unless another is given. */
export function dateStamp(date: Date, timeZone = 'Asia/Singapore'): string {
  const text = date.toLocaleString('sv-SE', { timeZone }); // 2026-01-02 03:04:05
  return text.replaceAll(/[-:]/g, '').replace(' ', '_');
}

/** Seconds of a clock that never jumps. */
export function monotonicSeconds(): number {
  return performance.now() / 1000;
}

/** A benchmark's rows: a group, then its members with an indented alias. */
function resultEntries(run: BenchmarkRun): [string, MetricValues][] {
  const prefix = run.benchmark.isGroup ? ' - ' : '';
  const tasks = run.tasks.map(({ task, aggregate }): [string, MetricValues] => [
    task.name,
    { alias: prefix + task.name, ...metricValues(aggregate.values) },
  ]);
  return run.benchmark.isGroup ? [groupEntry(run), ...tasks] : tasks;
}

function groupEntry(run: BenchmarkRun): [string, MetricValues] {
  const { name } = run.benchmark;
  return [name, { ...metricValues(groupValues(run.tasks.map((task) => task.aggregate))), alias: name }];
}

/** A metric that the task does not list keeps an empty list, as in the original. */
function metricValues(values: ReadonlyMap<string, number | undefined>): MetricValues {
  return Object.fromEntries(
    [...values].flatMap(([metric, value]) => [
      [`${metric},none`, value ?? []],
      [`${metric}_stderr,none`, value === undefined ? [] : 'N/A'],
    ]),
  );
}

function memberNames(benchmark: Benchmark): string[] {
  return benchmark.isGroup ? benchmark.tasks.map((task) => task.name) : [];
}

function runConfig(task: Task, info: RunInfo): object {
  return { ...task.config, generation_kwargs: generationSettings(task.config, info.genKwargs) };
}

function higherIsBetter(tasks: readonly Task[]): Record<string, boolean> {
  return Object.fromEntries(tasks.flatMap((task) => metricNames(task.config)).map((metric) => [metric, true]));
}

function runSettings(info: RunInfo): object {
  return {
    model: info.model,
    model_args: info.modelArgs,
    batch_size: info.batchSize,
    batch_sizes: [],
    device: null,
    use_cache: null,
    limit: info.limit,
    bootstrap_iters: 100000,
    gen_kwargs: Object.keys(info.genKwargs).length === 0 ? '' : info.genKwargs,
    random_seed: 0,
    numpy_seed: 1234,
    torch_seed: 1234,
    fewshot_seed: 1234,
  };
}

function sorted<Value>(record: Record<string, Value>): Record<string, Value> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

import { join } from 'node:path';
import { InputError } from '../io/errors.ts';
import { writeTextFile } from '../io/output_file.ts';
import { show } from '../io/strict_json.ts';
import { type Benchmark, findBenchmarks } from './benchmarks.ts';
import { type JsonLine, readJsonLines } from './datasets/json_lines.ts';
import type { Doc } from './document.ts';
import {
  type BenchmarkRun,
  dateStamp,
  monotonicSeconds,
  type ResultsDocument,
  resultsDocument,
  resultsText,
} from './results.ts';
import { type ScoredSample, scoreSample } from './samples.ts';
import type { Task } from './task.ts';

/** Answers to score: a benchmark's name and the JSON lines that hold documents and responses. */
export interface RescoreRequest {
  readonly name: string;
  readonly path: string;
}

/** What {@link rescore} wrote. */
export interface Rescored {
  readonly document: ResultsDocument;
  /** The results file, then each benchmark's per-document results. */
  readonly files: readonly string[];
}

/**
 * Scores answers without a model. Each line of a file is `{"doc", "response"}` or a line of a samples file; a group's lines
 * say which member they belong to (`task`, or the document's `sub_task`). Everything is scored before the first file is
 * written: OUTPUT/NAME.results.jsonl (prompt, target, result) for each benchmark, OUTPUT/{date}_results.json for all.
 * @throws InputError naming file and line
 */
export async function rescore(requests: readonly RescoreRequest[], outputDir: string): Promise<Rescored> {
  const startTime = monotonicSeconds();
  const scored: { benchmark: Benchmark; lines: ScoredLine[] }[] = [];
  for (const benchmark of findBenchmarks(requests.map((request) => request.name))) {
    const { path } = requests.find((request) => request.name === benchmark.name)!;
    const lines = await readJsonLines(path);
    if (lines.length === 0) throw new InputError(`${path} must hold JSON lines, found none.`);
    scored.push({ benchmark, lines: scoreLines(benchmark, lines) });
  }

  const document = resultsDocument(scored.map(benchmarkRun), {
    model: 'rescore',
    modelArgs: '',
    modelName: '',
    batchSize: '1',
    limit: null,
    genKwargs: {},
    gitHash: null,
    date: dateStamp(new Date()),
    systemInstruction: null,
    chatTemplate: null,
    startTime,
    endTime: monotonicSeconds(),
  });
  const files = [join(outputDir, `${document.date}_results.json`)];
  for (const { benchmark, lines } of scored) {
    const path = join(outputDir, `${benchmark.name}.results.jsonl`);
    await writeTextFile(path, lines.map(resultLine).join(''));
    files.push(path);
  }
  await writeTextFile(files[0]!, resultsText(document));
  return { document, files };
}

interface ScoredLine extends ScoredSample {
  readonly task: Task;
}

function scoreLines(benchmark: Benchmark, lines: readonly JsonLine[]): ScoredLine[] {
  const counts = new Map<Task, number>();
  return lines.map(({ where, value: line }) => {
    try {
      const { doc } = line;
      if (!isObject(doc)) throw new InputError(`doc must be an object, found ${show(doc)}.`);
      const task = taskOf(benchmark, line, doc);
      const docId = counts.get(task) ?? 0;
      counts.set(task, docId + 1);
      return { task, ...scoreSample(task, docId, doc, responseOf(line), task.config.generation_kwargs) };
    } catch (error) {
      if (error instanceof InputError) throw new InputError(`${where}: ${error.message}`);
      throw error;
    }
  });
}

/** A samples file keeps the model's text in `resps`, a list of lists. */
function responseOf(line: Doc): string {
  const response = 'response' in line ? line.response : [line.resps].flat(2)[0];
  if (typeof response !== 'string') {
    throw new InputError(`response (or the first of resps) must be text, found ${show(response)}.`);
  }
  return response;
}

function taskOf(benchmark: Benchmark, line: Doc, doc: Doc): Task {
  if (!benchmark.isGroup) return benchmark.tasks[0]!;
  const subset = line.task ?? doc.sub_task;
  const task = benchmark.tasks.find(({ name, dataset }) => name === subset || dataset.path.endsWith(`/${subset}`));
  if (task !== undefined) return task;
  const names = benchmark.tasks.map(({ name }) => name).join(', ');
  throw new InputError(`task (or the document's sub_task) must tell one of ${names}, found ${show(subset)}.`);
}

/** A member of a group that has no line takes no part. */
function benchmarkRun({ benchmark, lines }: { benchmark: Benchmark; lines: ScoredLine[] }): BenchmarkRun {
  const tasks = benchmark.tasks.flatMap((task) => {
    const own = lines.filter((line) => line.task === task);
    if (own.length === 0) return [];
    const aggregate = task.aggregate(own.map((line) => line.result));
    const samples = own.map((line) => line.sample);
    return [{ task, original: own.length, effective: own.length, aggregate, samples }];
  });
  return { benchmark, tasks };
}

function resultLine({ sample, result }: ScoredLine): string {
  return `${JSON.stringify({ prompt: sample.input, target: sample.target, result })}\n`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

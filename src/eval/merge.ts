import { join } from 'node:path';
import { InputError } from '../io/errors.ts';
import { writeTextFile } from '../io/output_file.ts';
import { type Benchmark, findBenchmarks } from './benchmarks.ts';
import { type Entry, type Read, readJournals } from './journal.ts';
import {
  type BenchmarkRun,
  type ResultsDocument,
  resultsDocument,
  resultsText,
  sanitizedModelName,
  type TaskRun,
} from './results.ts';
import { type RunFile, readRunFile } from './run_file.ts';
import { samplesText, scoreSample } from './samples.ts';
import type { Task } from './task.ts';
import { generationSettings } from './task_config.ts';

/** The journals of a run put together: the entry of every document that has one. */
export interface Merged {
  readonly run: RunFile;
  /** By task, then by document. */
  readonly entries: ReadonlyMap<string, ReadonlyMap<number, Entry>>;
  /** Documents without an answer or an error, by task. */
  readonly missing: ReadonlyMap<string, readonly number[]>;
}

/** Result files that were written. */
export interface WrittenResults {
  readonly document: ResultsDocument;
  readonly files: readonly string[];
  /** Documents that failed. */
  readonly errors: readonly FailedDocument[];
}

/** A document that failed, and why. */
export interface FailedDocument {
  readonly task: string;
  readonly docId: number;
  readonly error: string;
}

/** Reads the journals of a run. An answer counts more than an error, a later error more than an earlier one. @throws InputError */
export async function readRun(folder: string, run: RunFile): Promise<Merged> {
  const found = new Map<string, Map<number, Read>>(Object.keys(run.tasks).map((task) => [task, new Map()]));
  for (const read of await readJournals(folder)) {
    const { task, doc_id } = read.entry;
    const known = found.get(task);
    if (known === undefined || doc_id < 0 || doc_id >= run.tasks[task]!.asked) {
      throw new InputError(`${read.where}: expected a document of this run, found number ${doc_id} of ${task}.`);
    }
    const before = known.get(doc_id);
    if (before !== undefined && 'response' in before.entry) {
      if (!('response' in read.entry)) continue;
      throw new InputError(
        `${task} document ${doc_id}: expected one answer, found two, in ${before.where} and in ${read.where}.`,
      );
    }
    known.set(doc_id, read);
  }
  const entries = new Map(
    [...found].map(([task, reads]) => [task, new Map([...reads].map(([id, read]) => [id, read.entry]))]),
  );
  const missing = new Map<string, number[]>();
  for (const [task, { asked }] of Object.entries(run.tasks)) {
    const lacking = Array.from({ length: asked }, (_, id) => id).filter((id) => !entries.get(task)!.has(id));
    if (lacking.length > 0) missing.set(task, lacking);
  }
  return { run, entries, missing };
}

/** Merges the journals in a folder into result files. @throws InputError if the folder holds no run or documents are missing */
export async function mergeRun(folder: string): Promise<WrittenResults> {
  const run = await readRunFile(folder);
  if (run === undefined) throw new InputError(`${folder}: expected the folder of a run, found no run.json in it.`);
  const merged = await readRun(folder, run);
  if (merged.missing.size > 0) throw new InputError(`${folder}: ${describeMissing(merged)}`);
  return writeResults(folder, merged);
}

/** Which documents are still to be answered, in a sentence. */
export function describeMissing({ run, missing }: Merged): string {
  const parts = [...missing].map(([task, ids]) => {
    const shown = ids.slice(0, 10).join(', ');
    return `${ids.length} of ${run.tasks[task]!.asked} of ${task} (${shown}${ids.length > 10 ? ', …' : ''})`;
  });
  return `expected an answer to every document, found none to ${parts.join(', ')}; run again with --resume.`;
}

/** Writes the result files of a complete run: a function of its journals alone, so that it always writes the same bytes. */
async function writeResults(folder: string, { run, entries }: Merged): Promise<WrittenResults> {
  const runs = findBenchmarks(run.benchmarks).map((benchmark) => benchmarkRun(benchmark, run, entries));
  const errors = [...entries].flatMap(([task, ofTask]) =>
    [...ofTask.values()]
      .flatMap((entry) => ('error' in entry ? [{ task, docId: entry.doc_id, error: entry.error }] : []))
      .sort((a, b) => a.docId - b.docId),
  );
  const ends = [...entries.values()].flatMap((ofTask) => [...ofTask.values()].map((entry) => entry.at));
  const seconds = ends.reduce((latest, at) => Math.max(latest, at), 0);
  const document: ResultsDocument = {
    ...resultsDocument(runs, {
      model: run.model,
      modelArgs: run.model_args,
      modelName: run.model_name,
      batchSize: '1',
      limit: run.limit,
      genKwargs: run.gen_kwargs,
      gitHash: null,
      date: run.date,
      systemInstruction: run.system,
      chatTemplate: null,
      startTime: run.began,
      endTime: run.began + seconds,
    }),
    ...(errors.length > 0 && { errors: errorsByTask(errors) }),
  };
  const stem = join(folder, sanitizedModelName(run.model_name), run.date);
  const files: string[] = [];
  for (const { task, samples } of runs.flatMap((one) => one.tasks)) {
    files.push(`${stem}_samples_${task.name}.jsonl`);
    await writeTextFile(files.at(-1)!, samplesText(samples));
  }
  await writeTextFile(`${stem}_results.json`, resultsText(document));
  return { document, files: [`${stem}_results.json`, ...files], errors };
}

function benchmarkRun(benchmark: Benchmark, run: RunFile, entries: Merged['entries']): BenchmarkRun {
  return { benchmark, tasks: benchmark.tasks.map((task) => taskRun(task, run, entries.get(task.name)!)) };
}

/** Scores the answers in the order of the documents; those that failed take no part. */
function taskRun(task: Task, run: RunFile, entries: ReadonlyMap<number, Entry>): TaskRun {
  const { original, asked } = run.tasks[task.name]!;
  const settings = generationSettings(task.config, run.gen_kwargs);
  const scored = [...entries.values()]
    .sort((a, b) => a.doc_id - b.doc_id)
    .flatMap((entry) =>
      'response' in entry ? [scoreSample(task, entry.doc_id, entry.doc, entry.response, settings)] : [],
    );
  const aggregate = task.aggregate(scored.map(({ result }) => result));
  return { task, original, effective: asked, aggregate, samples: scored.map(({ sample }) => sample) };
}

function errorsByTask(errors: readonly FailedDocument[]): Record<string, { doc_id: number; error: string }[]> {
  const byTask: Record<string, { doc_id: number; error: string }[]> = {};
  for (const { task, docId, error } of errors) {
    byTask[task] ??= [];
    byTask[task].push({ doc_id: docId, error });
  }
  return byTask;
}

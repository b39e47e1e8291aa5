import { InputError } from '../io/errors.ts';
import type { VisualInput } from '../models/qwen3_5/input.ts';
import { answerSettings } from './answer_settings.ts';
import type { Answerer, Question } from './answerer.ts';
import { findBenchmarks, findTask } from './benchmarks.ts';
import { Journal, journalPath, type Shard } from './journal.ts';
import { readRun } from './merge.ts';
import { groupDocuments, shardDocuments, tasksInOrder } from './plan.ts';
import type { Group, PreparedDocument, PreparedGroup } from './preparation.ts';
import type { PreparationPool } from './preparation_pool.ts';
import type { RunFile } from './run_file.ts';
import { type Result, scoreDocument, type Task } from './task.ts';
import { type GenerationSettings, generationSettings } from './task_config.ts';

/** What the original seeds its generator with. */
const SEED = 1234;

/** One process's part of a run. */
export interface ShardOptions {
  /** The run's folder, with its journals. */
  readonly folder: string;
  readonly run: RunFile;
  readonly shard: Shard;
  readonly pool: PreparationPool;
  readonly answerer: Answerer;
  /** What becomes of a model's text before it is scored. */
  readonly cleaned: (text: string) => string;
  /** Ends the run at the first document that fails. */
  readonly strict: boolean;
  readonly signal: AbortSignal;
  readonly observer: ShardObserver;
}

/** Who is told how a run goes. */
export interface ShardObserver {
  /** Before the first question: files that documents of this process show and that do not exist. */
  onMissing(files: readonly string[], documents: number): void;
  /** How many documents this process asks, and how many of them had been answered before. */
  onStart(total: number, done: number): void;
  /** After each document. `results` are those of its task so far, as far as this process knows them. */
  onDocument(task: Task, docId: number, results: readonly Result[], error: string | undefined): void;
}

/** Where the time went, in milliseconds. */
export interface ShardTimes {
  readonly answered: number;
  readonly answering: number;
  /** The GPU had nothing to do, because the next document was not ready. */
  readonly waiting: number;
}

/**
 * Answers those documents of a process's shard that no journal has an answer for, and appends each to the process's journal at once.
 * Ends early, without an error, when the signal is aborted. @throws InputError
 */
export async function evaluateShard(options: ShardOptions): Promise<ShardTimes> {
  const { folder, shard, pool, observer, signal } = options;
  const { groups, results, total } = await openWork(options);
  const open = groups.reduce((sum, { docIds }) => sum + docIds.length, 0);
  observer.onStart(total, total - open);
  if (open === 0) return { answered: 0, answering: 0, waiting: 0 };

  const journal = await Journal.open(journalPath(folder, shard));
  const shardRun = new ShardRun(options, journal, results);
  try {
    const prepared = pool.prepare(groups);
    let following = prepared.next();
    for (;;) {
      const from = performance.now();
      const group = await following;
      shardRun.times.waiting += performance.now() - from;
      if (group.done || signal.aborted) break;
      following = prepared.next();
      await shardRun.answerGroup(group.value, picturesOnceReady(following));
      if (signal.aborted) break;
    }
  } finally {
    await journal.close();
  }
  return shardRun.times;
}

/** What a process has to do: open documents in groups, the results of answered ones by task, and the number of both. */
interface OpenWork {
  readonly groups: Group[];
  readonly results: Map<string, Result[]>;
  readonly total: number;
}

async function openWork(options: ShardOptions): Promise<OpenWork> {
  const { folder, run, shard, pool, observer, strict } = options;
  const { entries } = await readRun(folder, run);
  const work = { groups: [] as Group[], results: new Map<string, Result[]>(), total: 0 };
  const missing = { files: new Set<string>(), documents: 0 };
  for (const task of tasksInOrder(findBenchmarks(run.benchmarks))) {
    const mine = shardDocuments(run.tasks[task.name]!.asked, shard);
    const answered: Result[] = [];
    const open: number[] = [];
    for (const docId of mine) {
      const entry = entries.get(task.name)!.get(docId);
      if (entry === undefined || 'error' in entry) open.push(docId);
      else answered.push(scoreDocument(task, entry.doc, entry.response).result);
    }
    const surveyed = await pool.survey({ task: task.name, docIds: open });
    const lacking = surveyed.filter((document) => document.missing.length > 0);
    for (const file of lacking.flatMap((document) => document.missing)) missing.files.add(file);
    missing.documents += lacking.length;
    work.groups.push(...groupDocuments(task.name, surveyed));
    work.results.set(task.name, answered);
    work.total += mine.length;
  }
  if (missing.files.size > 0) {
    observer.onMissing([...missing.files], missing.documents);
    if (strict) throw new InputError(`expected all files that documents show, found ${missing.files.size} missing.`);
  }
  return work;
}

/** The pictures of a group that is being prepared: `undefined` until it is ready, or if there is none. */
function picturesOnceReady(group: Promise<IteratorResult<PreparedGroup>>): () => VisualInput | undefined {
  let pictures: VisualInput | undefined;
  group.then(
    (result) => {
      pictures = result.done ? undefined : result.value.pictures;
    },
    () => undefined, // it is reported when its turn comes
  );
  return () => pictures;
}

/** The loop's body: one group of documents after another. */
class ShardRun {
  readonly times = { answered: 0, answering: 0, waiting: 0 };
  readonly #options: ShardOptions;
  readonly #journal: Journal;
  readonly #results: ReadonlyMap<string, Result[]>;

  constructor(options: ShardOptions, journal: Journal, results: ReadonlyMap<string, Result[]>) {
    this.#options = options;
    this.#journal = journal;
    this.#results = results;
  }

  /** `ahead`: the pictures of the group after this one, which the answerer may look at while it answers the last document. */
  async answerGroup(
    { task: name, pictures, documents }: PreparedGroup,
    ahead: () => VisualInput | undefined,
  ): Promise<void> {
    const task = findTask(name);
    const settings = generationSettings(task.config, this.#options.run.gen_kwargs);
    for (const document of documents) {
      const started = performance.now();
      const shown = { pictures, ...(document === documents.at(-1) && { ahead }) };
      const goesOn = await this.#answerDocument(task, shown, document, settings);
      this.times.answering += performance.now() - started;
      if (!goesOn) return;
      this.times.answered += 1;
    }
  }

  /** @returns whether the run goes on */
  async #answerDocument(
    task: Task,
    shown: Pick<Question, 'pictures' | 'ahead'>,
    document: PreparedDocument,
    settings: GenerationSettings,
  ): Promise<boolean> {
    if ('error' in document) return this.#recordError(task, document.docId, document.error);
    const { answerer, signal, cleaned, run, observer } = this.#options;
    const { docId, doc, text } = document;
    const question = { ...shown, text, settings: answerSettings(settings), seed: SEED + docId };
    const outcome = await answerer.answer(question, signal);
    if (outcome.kind === 'interrupted') return false;
    if (outcome.kind === 'failed') return this.#recordError(task, docId, outcome.reason);
    const response = cleaned(outcome.text);
    let result: Result;
    try {
      result = scoreDocument(task, doc, response).result;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return this.#recordError(task, docId, error.message);
    }
    const results = this.#results.get(task.name)!;
    results.push(result);
    await this.#journal.append({ task: task.name, doc_id: docId, at: secondsSince(run), doc, response });
    observer.onDocument(task, docId, results, undefined);
    return !signal.aborted;
  }

  /** @returns whether the run goes on */
  async #recordError(task: Task, docId: number, error: string): Promise<boolean> {
    const { run, observer, strict, signal } = this.#options;
    await this.#journal.append({ task: task.name, doc_id: docId, at: secondsSince(run), error });
    if (strict) throw new InputError(`${task.name} document ${docId}: ${error}`);
    observer.onDocument(task, docId, this.#results.get(task.name)!, error);
    return !signal.aborted;
  }
}

function secondsSince(run: RunFile): number {
  return Date.now() / 1000 - run.began;
}

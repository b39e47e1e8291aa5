import { pythonStrip } from '../io/python_strip.ts';
import type { Doc, Picture } from './document.ts';
import type { TaskConfig } from './task_config.ts';

/** Where a task's documents come from. */
export interface DatasetSource {
  /** The hub's dataset, or for `disk` the folder the original expects, relative to its working folder. */
  readonly path: string;
  /** `hub`: parquet or JSON lines as downloaded; `disk`: what `save_to_disk` of Hugging Face datasets wrote (Arrow). */
  readonly layout: 'hub' | 'disk';
  readonly split: string;
  /** Folder of the videos inside the cache folder (HF_HOME); a local dataset folder holds them itself. */
  readonly videoFolder?: string;
}

/** What is shown with a question: a picture, or the first of some video files (relative to the videos' folder) that exists. */
export type Visual = { readonly picture: Picture } | { readonly video: readonly string[] };

/** What scoring one document gives: an entry for each metric. */
export type Result = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** A scored document: its entries, and its columns with what scoring added and without pictures. */
export interface Scored {
  readonly result: Result;
  readonly doc: Doc;
}

/** The metrics of a whole task. */
export interface Aggregate {
  /** Reported values in the order the metrics occur; `undefined` if the task does not list a metric of that name. */
  readonly values: ReadonlyMap<string, number | undefined>;
  /** What is logged beside them: accuracy per question type and the like. NaN where there is no document. */
  readonly breakdown: Readonly<Record<string, unknown>>;
}

/** A benchmark, or a member of a group of benchmarks. Every function refuses a document it cannot use with an InputError. */
export interface Task {
  readonly name: string;
  readonly dataset: DatasetSource;
  /** The task's description as the results file shows it, generation settings included. */
  readonly config: TaskConfig;
  /** True if the original shuffles the documents where LMMS_EVAL_SHUFFLE_DOCS is set. */
  readonly shuffles: boolean;
  /** If present, the rows that are asked, in order, of a dataset of `count` rows. */
  readonly select?: (count: number) => number[];
  /** The text of the question. */
  prompt(doc: Doc): string;
  /** The expected answer. */
  target(doc: Doc): string;
  /** Pictures or the video, in the order the model sees them. */
  visuals(doc: Doc): Visual[];
  /** What a document says about its own prompt, in place of the run's settings; none does unless this is there. */
  asking?(doc: Doc): { readonly addFrameIndex: boolean; readonly enableThinking: boolean };
  /** Extracts the answer from a response, already stripped (see {@link scoreDocument}), and scores it. */
  processResults(doc: Doc, response: string): Scored;
  /** The metrics over all documents' results. */
  aggregate(results: readonly Result[]): Aggregate;
}

/** Scores a model's text: white space at both ends never counts. */
export function scoreDocument(task: Task, doc: Doc, response: string): Scored {
  return task.processResults(doc, pythonStrip(response));
}

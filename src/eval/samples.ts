import { createHash } from 'node:crypto';
import type { Doc } from './document.ts';
import { type Scored, scoreDocument, type Task } from './task.ts';
import type { GenerationSettings } from './task_config.ts';

/** One line of a samples file, in its order of keys; after the three hashes come the metrics of the task, then `input`. */
export interface Sample {
  readonly doc_id: number;
  readonly doc: Doc;
  readonly target: string;
  readonly arguments: Readonly<Record<string, string>>;
  readonly resps: readonly (readonly [string])[];
  readonly filtered_resps: readonly [string];
  readonly doc_hash: string;
  readonly prompt_hash: string;
  readonly target_hash: string;
  readonly input: string;
  readonly [metric: string]: unknown;
}

/** A scored document, as the results are made from, and its line of the samples file. */
export interface ScoredSample extends Scored {
  readonly sample: Sample;
}

/** Scores a model's text about document number `docId` and describes it. `settings` are those of the run. */
export function scoreSample(
  task: Task,
  docId: number,
  doc: Doc,
  response: string,
  settings: GenerationSettings,
): ScoredSample {
  const input = task.prompt(doc);
  const target = task.target(doc);
  const scored = scoreDocument(task, doc, response);
  const sample: Sample = {
    doc_id: docId,
    doc: scored.doc,
    target,
    arguments: Object.fromEntries(Object.keys(settings).map((name, i) => [i, name])),
    resps: [[response]],
    filtered_resps: [response],
    doc_hash: sha256('null'), // the original's request does not carry the document
    prompt_hash: sha256(input),
    target_hash: sha256(target),
    ...scored.result,
    input,
  };
  return { ...scored, sample };
}

/** The text of a samples file. What is not a number becomes null. */
export function samplesText(samples: readonly Sample[]): string {
  return samples.map((sample) => `${JSON.stringify(sample)}\n`).join('');
}

/** The hash of a task's samples, in document order, that the results file shows. */
export function taskHash(samples: readonly Sample[]): string {
  return sha256(samples.map((sample) => sample.doc_hash + sample.prompt_hash + sample.target_hash).join(''));
}

/** SHA-256 of a text's UTF-8 bytes, in hexadecimal. */
export function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

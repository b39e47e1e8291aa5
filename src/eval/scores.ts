/** What several benchmarks share: mean relative accuracy, the first option letter, means. */

import { linspace } from './python.ts';
import type { Aggregate, Result } from './task.ts';

/** The name under which mean relative accuracy is stored in a document. */
export const MRA = 'MRA:.5:.95:.05';

const THRESHOLDS = linspace(0.5, 0.95, 10);

/** Mean relative accuracy: the share of the thresholds theta with `error` <= 1 - theta. A NaN error gives 0. */
export function meanRelativeAccuracy(error: number): number {
  return THRESHOLDS.filter((threshold) => error <= 1 - threshold).length / THRESHOLDS.length;
}

/** The mean, NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The last two are accidental concatenations of two phrases in the original and match only as they stand here. */
const ANSWER_PHRASES = [
  'The best answer is',
  'The correct answer is',
  'The answer is',
  'The answer',
  'The best option isThe correct option is',
  'Best answer:Best option:',
];

/** The first of the capital `letters` anywhere in a response, once the phrases that announce an answer are deleted; or "". */
export function firstOptionLetter(response: string, letters: string): string {
  let text = response;
  for (const phrase of ANSWER_PHRASES) text = text.replaceAll(phrase, '');
  return Array.from(text).find((character) => letters.includes(character)) ?? '';
}

/** The capital letter of option number `index` (0 is A). */
export function optionLetter(index: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + index);
}

/** Entries of one metric grouped by a field, groups sorted by name as pandas does. */
export function groupByField(entries: readonly Record<string, unknown>[], field: string): Map<string, Entry[]> {
  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const name = String(entry[field]);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [entry]);
    else group.push(entry);
  }
  return new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** One document's entry of a metric. */
export type Entry = Readonly<Record<string, unknown>>;

/** The mean of a numeric field, NaN of no entries. */
export function meanOfField(entries: readonly Entry[], field: string): number {
  return mean(entries.map((entry) => Number(entry[field])));
}

/** The aggregation of a task that reports a single metric; without documents it reports nothing. */
export function aggregateOne(
  metric: string,
  results: readonly Result[],
  compute: (entries: Entry[]) => { value: number; breakdown: Record<string, unknown> },
): Aggregate {
  if (results.length === 0) return { values: new Map(), breakdown: {} };
  const { value, breakdown } = compute(results.map((result) => result[metric]!));
  return { values: new Map([[metric, value]]), breakdown };
}

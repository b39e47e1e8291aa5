import { permutation } from './numpy_random.ts';
import type { Task } from './task.ts';

/** The rows of a dataset of `count` rows that a task asks about, in order. `shuffle`: LMMS_EVAL_SHUFFLE_DOCS is set. */
export function selectRows(task: Task, count: number, shuffle: boolean): number[] {
  if (task.select !== undefined) return task.select(count);
  if (shuffle && task.shuffles) return permutation(42, count);
  return Array.from({ length: count }, (_, row) => row);
}

/**
 * How many documents `--limit` asks of each task: below 1 a share of the rows, rounded up. The original takes the count of
 * the task it runs first (see inRunningOrder) for all, so `firstCount` is the number of that task's rows.
 */
export function limitCount(limit: number | undefined, firstCount: number): number {
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  return limit < 1 ? Math.ceil(firstCount * limit) : Math.trunc(limit);
}

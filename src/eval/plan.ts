import { type Benchmark, inRunningOrder } from './benchmarks.ts';
import type { Shard } from './journal.ts';
import type { Group, Surveyed } from './preparation.ts';
import type { TaskCount } from './run_file.ts';
import { limitCount } from './selection.ts';
import type { Task } from './task.ts';

/** The tasks of the benchmarks in the order in which they are run. */
export function tasksInOrder(benchmarks: readonly Benchmark[]): Task[] {
  return inRunningOrder(benchmarks).flatMap((benchmark) => benchmark.tasks);
}

/** How many documents of each task are asked under `--limit`; `count` tells how many there are. */
export async function countDocuments(
  tasks: readonly Task[],
  limit: number | undefined,
  count: (task: string) => Promise<number>,
): Promise<Record<string, TaskCount>> {
  const counts: Record<string, TaskCount> = {};
  let most: number | undefined;
  for (const { name } of tasks) {
    const original = await count(name);
    most ??= limitCount(limit, original);
    counts[name] = { original, asked: Math.min(original, most) };
  }
  return counts;
}

/** The documents of a task that a process asks, as in the original: number `rank` and every `world`-th after it. */
export function shardDocuments(asked: number, { rank, world }: Shard): number[] {
  return Array.from({ length: Math.max(0, Math.ceil((asked - rank) / world)) }, (_, i) => rank + i * world);
}

/** Documents that show the same files, together, in the order of their first ones: their pictures are prepared and looked at once. */
export function groupDocuments(task: string, documents: readonly Surveyed[]): Group[] {
  const groups = new Map<string | number, number[]>();
  for (const { docId, key } of documents) {
    const group = groups.get(key ?? docId);
    if (group === undefined) groups.set(key ?? docId, [docId]);
    else group.push(docId);
  }
  return [...groups.values()].map((docIds) => ({ task, docIds }));
}

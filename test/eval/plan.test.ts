import fc from 'fast-check';
import { expect, it } from 'vitest';
import { findBenchmarks } from '../../src/eval/benchmarks.ts';
import { countDocuments, groupDocuments, shardDocuments, tasksInOrder } from '../../src/eval/plan.ts';

it('gives every document to one process, as the original does', () => {
  expect(shardDocuments(7, { rank: 1, world: 3 })).toEqual([1, 4]);
  expect(shardDocuments(1, { rank: 2, world: 3 })).toEqual([]);
  fc.assert(
    fc.property(fc.nat(200), fc.integer({ min: 1, max: 20 }), (asked, world) => {
      const all = Array.from({ length: world }, (_, rank) => shardDocuments(asked, { rank, world }));
      expect(all.every((mine, rank) => mine.every((id) => id % world === rank))).toBe(true);
      expect(all.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: asked }, (_, i) => i));
    }),
  );
});

it('puts documents that show the same files together', () => {
  const documents = ['a', undefined, 'b', 'a', undefined, 'b'].map((key, docId) => ({ docId, key, missing: [] }));
  const groups = groupDocuments('vsibench', documents).map(({ docIds }) => docIds);
  expect(groups).toEqual([[0, 3], [1], [2, 5], [4]]);
});

it('counts documents under a limit; a share is that of the task that runs first', async () => {
  const tasks = tasksInOrder(findBenchmarks(['blink_spatial', 'cvbench', 'vsibench']));
  expect(tasks.map(({ name }) => name)).toEqual([
    'vsibench',
    'cvbench',
    'blink_multi_view_reasoning',
    'blink_relative_depth',
    'blink_spatial_relation',
  ]);
  const sizes: Record<string, number> = { vsibench: 61, cvbench: 48, blink_multi_view_reasoning: 5 };
  const count = async (task: string) => sizes[task] ?? 17;
  const asked = async (limit: number | undefined) =>
    Object.values(await countDocuments(tasks, limit, count)).map((task) => task.asked);
  expect(await asked(undefined)).toEqual([61, 48, 5, 17, 17]);
  expect(await asked(3)).toEqual([3, 3, 3, 3, 3]);
  expect(await asked(0.25)).toEqual([16, 16, 5, 16, 16]);
});

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { findTask } from '../../src/eval/benchmarks.ts';
import { locate } from '../../src/eval/locations.ts';
import { InputError } from '../../src/io/errors.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'locations-'));
  vi.stubEnv('HF_HOME', dir);
  vi.stubEnv('HF_HUB_CACHE', join(dir, 'hub'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(dir, { recursive: true });
});

it('finds a dataset in the hub cache, its videos under HF_HOME', async () => {
  const repository = join(dir, 'hub', 'datasets--nyu-visionx--VSI-Bench');
  const commit = '0123456789abcdef0123456789abcdef01234567';
  await mkdir(join(repository, 'refs'), { recursive: true });
  await writeFile(join(repository, 'refs', 'main'), commit);
  const task = findTask('vsibench');
  await expect(locate(task, {})).rejects.toThrow(InputError);
  await expect(locate(task, {})).rejects.toThrow(
    `vsibench: expected the dataset nyu-visionx/VSI-Bench in the hub cache ${repository}, found no snapshot`,
  );
  const snapshot = join(repository, 'snapshots', commit);
  await mkdir(snapshot, { recursive: true });
  expect(await locate(task, {})).toEqual({ folder: snapshot, videoFolders: [join(dir, 'vsibench'), snapshot] });
});

it('takes the folder given for a task or its group', async () => {
  const depth = join(dir, 'Relative_Depth');
  await mkdir(depth);
  const task = findTask('blink_relative_depth');
  expect(await locate(task, { blink_spatial: dir })).toEqual({ folder: depth, videoFolders: [depth] });
  expect((await locate(task, { blink_spatial: '/nowhere', blink_relative_depth: dir })).folder).toBe(dir);
  await expect(locate(task, {})).rejects.toThrow(
    'blink_relative_depth: expected a dataset folder at cache/datasets/BLINK-Benchmark__BLINK/Relative_Depth, found none',
  );
  expect((await locate(findTask('videomme'), { videomme: dir })).videoFolders).toEqual([
    dir,
    join(dir, 'videomme/data'),
    join(dir, 'data'),
  ]);
});

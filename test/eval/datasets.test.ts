import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findFile, openDataset } from '../../src/eval/datasets.ts';
import { InputError } from '../../src/io/errors.ts';

const DATA = fileURLToPath(new URL('data', import.meta.url));

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'datasets-'));
});
afterEach(() => rm(dir, { recursive: true }));

/** What pyarrow 25 was given to write into both folders of `data`: row 3 has no picture. */
const ROWS = [0, 1, 2, 3, 4].map((i) => ({
  id: i,
  question: `q${i} 椅子`,
  choices: ['a', `b${i}`],
  score: i / 4,
  image: i === 3 ? null : { bytes: new Uint8Array([i, 255, 0]), path: null },
  images: Array.from({ length: i % 3 }, (_, j) => ({ bytes: new Uint8Array([i, j]), path: `${j}.png` })),
  raw: [new Uint8Array([200 + i])],
}));

it.each([
  ['parquet', 'test'],
  ['saved', 'val'],
  ['saved/val', 'val'],
])('reads the folder %s', async (folder, split) => {
  const dataset = await openDataset(join(DATA, folder), split);
  expect(dataset.count).toBe(5);
  for (const index of [4, 0, 1, 2, 3, 0]) {
    const doc = await dataset.document(index);
    expect(comparable(doc)).toEqual(comparable(ROWS[index]!));
    expect(Object.keys(doc)).toEqual(Object.keys(ROWS[index]!));
  }
  await expect(dataset.document(5)).rejects.toThrow(RangeError);
});

it('reads JSON lines of the split', async () => {
  await mkdir(join(dir, 'lines'));
  await writeFile(join(dir, 'lines', 'test_3d.jsonl'), '{"id": 2}\r\n\n{"id": 3}');
  await writeFile(join(dir, 'lines', 'test_2d.jsonl'), '{"id": 1}\n');
  await writeFile(join(dir, 'lines', 'latest.jsonl'), 'not read');
  const dataset = await openDataset(dir, 'test');
  expect(await Promise.all([0, 1, 2].map((i) => dataset.document(i)))).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
});

it('prefers the file of exactly that name, and takes a file without any split', async () => {
  await writeFile(join(dir, 'test_pruned.jsonl'), '{}\n{}');
  await writeFile(join(dir, 'test.jsonl'), '{}');
  expect((await openDataset(dir, 'test')).count).toBe(1);
  expect((await openDataset(dir, 'val')).count).toBe(3);
});

it('refuses what it cannot read', async () => {
  const refused = async (message: RegExp, folder = dir) => {
    await expect(openDataset(folder, 'test')).rejects.toThrow(InputError);
    await expect(openDataset(folder, 'test')).rejects.toThrow(message);
  };
  await refused(/does not exist/, join(dir, 'nowhere'));
  await refused(/must hold a saved dataset, \*\.parquet or \*\.jsonl files/);
  await writeFile(join(dir, 'test.jsonl'), '{}\n[1]');
  await refused(/test\.jsonl line 2: expected a JSON object, found \[1\]/);
  await writeFile(join(dir, 'test.jsonl'), '{');
  await refused(/test\.jsonl line 1: expected JSON/);
  await writeFile(join(dir, 'test.parquet'), 'PAR1 nothing PAR1');
  await refused(/test\.parquet must be a readable parquet file/);
  await writeFile(join(dir, 'state.json'), '{"_data_files": [{"filename": "data.arrow"}]}');
  await refused(/data\.arrow must be a readable Arrow file/);
  await writeFile(join(dir, 'data.arrow'), 'nothing');
  await refused(/data\.arrow must be a readable Arrow file/);
  await writeFile(join(dir, 'state.json'), '{}');
  await refused(/state\.json must list the dataset's files/);
});

it('finds the first of some files', async () => {
  await writeFile(join(dir, 'b.mkv'), '');
  expect(await findFile([join(dir, 'b.mp4'), join(dir, 'b.mkv')])).toBe(join(dir, 'b.mkv'));
  expect(await findFile([join(dir, 'a.mp4')])).toBeUndefined();
});

/** Bytes as lists, so that Buffer and Uint8Array compare equal. */
function comparable(doc: object): unknown {
  return JSON.parse(JSON.stringify(doc, (_, value) => (value instanceof Uint8Array ? [...value] : value)));
}

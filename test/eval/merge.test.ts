import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withoutPictures } from '../../src/eval/document.ts';
import { type Entry, Journal, journalPath, readJournals, type Shard } from '../../src/eval/journal.ts';
import { mergeRun } from '../../src/eval/merge.ts';
import { agreeOnRun, type RunFile, readRunFile } from '../../src/eval/run_file.ts';
import { InputError } from '../../src/io/errors.ts';
import { BENCHMARKS, fixtureLines, jsonLines, readFixture, taskOf } from './fixtures.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'merge-'));
});
afterEach(() => rm(dir, { recursive: true }));

/** Every document of the fixtures with the response there, numbered by task. */
function fixtureEntries(benchmarks: readonly string[]): Entry[] {
  const counts = new Map<string, number>();
  return benchmarks.flatMap((benchmark) =>
    fixtureLines(benchmark).map((line, i) => {
      const task = taskOf(benchmark, line).name;
      const doc_id = counts.get(task) ?? 0;
      counts.set(task, doc_id + 1);
      return { task, doc_id, at: i, doc: withoutPictures(line.doc), response: line.response };
    }),
  );
}

function runOf(benchmarks: readonly string[], entries: readonly Entry[]): RunFile {
  const tasks: Record<string, { original: number; asked: number }> = {};
  for (const { task, doc_id } of entries) tasks[task] = { original: 99, asked: doc_id + 1 };
  return {
    format: 1,
    benchmarks,
    model: 'qwen3_5',
    model_args: 'pretrained=org/model',
    model_name: 'org/model',
    dtype: 'float32',
    gen_kwargs: {},
    limit: null,
    system: null,
    shuffle: false,
    tasks,
    date: '20260102_030405',
    began: 1000,
  };
}

async function write(shard: Shard, entries: readonly Entry[]): Promise<void> {
  const journal = await Journal.open(journalPath(dir, shard));
  for (const entry of entries) await journal.append(entry);
  await journal.close();
}

async function writtenFiles(): Promise<Record<string, string>> {
  const folder = join(dir, 'org__model');
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')])),
  );
}

it("gives the metrics of the original's code for its documents and answers", async () => {
  const entries = fixtureEntries(BENCHMARKS);
  await agreeOnRun(dir, runOf(BENCHMARKS, entries));
  await write({ rank: 0, world: 1 }, entries);
  const { document, files, errors } = await mergeRun(dir);
  expect(errors).toEqual([]);
  const expected = JSON.parse(readFixture('aggregate.json'));
  for (const [benchmark, metric] of Object.entries({ vsibench: 'vsibench_score', blink_spatial: 'blink_acc' })) {
    const found = document.results[benchmark]![`${metric},none`] as number;
    expect(Math.abs(found / expected[benchmark][metric] - 1)).toBeLessThan(1e-12);
  }
  const samples = jsonLines<Record<string, unknown>>(
    await readFile(files.find((file) => file.endsWith('_samples_vsibench.jsonl'))!, 'utf8'),
  );
  const example = jsonLines<Record<string, unknown>>(readFixture('samples_example.jsonl')).slice(-3);
  for (const [i, sample] of example.entries()) {
    expect(Object.keys(samples[i]!)).toEqual(Object.keys(sample));
    expect(samples[i]).toEqual(sample);
  }
});

it('does not depend on ranks, order, kills and failures before an answer', async () => {
  const benchmarks = ['blink_spatial', 'mmsibench'];
  const entries = fixtureEntries(benchmarks);
  await agreeOnRun(dir, runOf(benchmarks, entries));
  const ofRank = fc.array(fc.nat(4), { minLength: entries.length, maxLength: entries.length });
  const order = fc.shuffledSubarray(entries, { minLength: entries.length });
  let first: Record<string, string> | undefined;
  await fc.assert(
    fc.asyncProperty(order, ofRank, fc.nat(60), async (shuffled, ranks, cut) => {
      for (const name of await readdir(dir)) if (name.startsWith('journal')) await rm(join(dir, name));
      for (const rank of [0, 1, 2, 3, 4]) {
        const mine = shuffled.filter((_, i) => ranks[i] === rank);
        const failed = mine
          .slice(0, 2)
          .map(({ task, doc_id, at }) => ({ task, doc_id, at, error: 'the GPU was lost' }));
        const shard = { rank, world: 5 };
        await write(shard, failed);
        if (mine[0] !== undefined) await appendFile(journalPath(dir, shard), JSON.stringify(mine[0]).slice(0, cut));
        await write(shard, mine);
      }
      await mergeRun(dir);
      const files = await writtenFiles();
      first ??= files;
      expect(files).toEqual(first);
    }),
    { numRuns: 12 },
  );
});

it('lists failed documents and leaves them out of the scores', async () => {
  const entries = fixtureEntries(['cvbench']);
  await agreeOnRun(dir, runOf(['cvbench'], entries));
  const failed = { task: 'cvbench', doc_id: 5, at: 2, error: 'video a.mp4 is damaged.' };
  await write({ rank: 0, world: 1 }, [failed, ...entries.filter(({ doc_id }) => doc_id !== 5), { ...failed, at: 3 }]);
  const { document, errors } = await mergeRun(dir);
  expect(errors).toEqual([{ task: 'cvbench', docId: 5, error: 'video a.mp4 is damaged.' }]);
  expect(document.errors).toEqual({ cvbench: [{ doc_id: 5, error: 'video a.mp4 is damaged.' }] });
  const files = await writtenFiles();
  expect(jsonLines(files['20260102_030405_samples_cvbench.jsonl']!)).toHaveLength(entries.length - 1);
});

it('writes null where the original writes a bare NaN', async () => {
  const entries = fixtureEntries(['cvbench']).slice(0, 1);
  await agreeOnRun(dir, runOf(['cvbench'], entries));
  await write({ rank: 0, world: 1 }, entries);
  await mergeRun(dir);
  const text = (await writtenFiles())['20260102_030405_results.json']!;
  expect(JSON.parse(text).results.cvbench['cvbench_score,none']).toBeNull();
});

describe('refuses', () => {
  const entries = fixtureEntries(['vsibench']);
  const refused = async (message: RegExp) => {
    await expect(mergeRun(dir)).rejects.toThrow(InputError);
    await expect(mergeRun(dir)).rejects.toThrow(message);
    expect(await readdir(dir)).not.toContain('org__model');
  };

  it('a folder without a run', () => refused(/expected the folder of a run, found no run\.json in it/));

  it('missing documents', async () => {
    await agreeOnRun(dir, runOf(['vsibench'], entries));
    await write(
      { rank: 1, world: 2 },
      entries.filter(({ doc_id }) => doc_id % 2 === 1),
    );
    await refused(
      /found none to 30 of 60 of vsibench \(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, …\); run again with --resume/,
    );
  });

  it('a document answered twice', async () => {
    await agreeOnRun(dir, runOf(['vsibench'], entries));
    await write({ rank: 0, world: 1 }, entries);
    await write({ rank: 1, world: 2 }, entries.slice(7, 8));
    await refused(
      /vsibench document 7: expected one answer, found two, in .*0-of-1\.jsonl line 8 and in .*1-of-2\.jsonl line 1/,
    );
  });

  it('a document that is not of the run', async () => {
    await agreeOnRun(dir, runOf(['vsibench'], entries.slice(0, 3)));
    await write({ rank: 0, world: 1 }, entries.slice(0, 4));
    await refused(/0-of-1\.jsonl line 4: expected a document of this run, found number 3 of vsibench/);
  });

  it('damaged journals and descriptions', async () => {
    await agreeOnRun(dir, runOf(['vsibench'], entries));
    const path = journalPath(dir, { rank: 0, world: 1 });
    for (const line of [
      '{',
      '[]',
      'null',
      '{"task":"vsibench","doc_id":0.5,"at":0,"error":"x"}',
      '{"task":"vsibench"}',
    ]) {
      await writeFile(path, `${line}\n`);
      await refused(/journal-0-of-1\.jsonl line 1: expected (JSON|an entry of a journal)/);
    }
    await writeFile(join(dir, 'run.json'), '{"format": 2}');
    await refused(/run\.json: expected the description of a run/);
  });
});

describe('the description of a run', () => {
  const mine = runOf(['vsibench'], fixtureEntries(['vsibench']));

  it('is that of the first process, with its date', async () => {
    expect(await agreeOnRun(dir, mine)).toEqual(mine);
    expect(await agreeOnRun(dir, { ...mine, date: '20270101_000000', began: 2000 })).toEqual(mine);
    expect(await readRunFile(dir)).toEqual(mine);
    expect(await readdir(dir)).toEqual(['run.json']);
  });

  it('is agreed on by processes that start together', async () => {
    const runs = Array.from({ length: 8 }, (_, i) => ({ ...mine, began: i }));
    const agreed = await Promise.all(runs.map((run) => agreeOnRun(dir, run)));
    expect(new Set(agreed.map((run) => run.began)).size).toBe(1);
  });

  it('needs a folder that can be written', async () => {
    await writeFile(join(dir, 'file'), '');
    const refused = agreeOnRun(join(dir, 'file', 'inside'), mine);
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(/inside: expected a folder that can be written, found ENOTDIR/);
  });

  it('must be the same', async () => {
    await agreeOnRun(dir, mine);
    const other = agreeOnRun(dir, { ...mine, limit: 3 });
    await expect(other).rejects.toThrow(/with limit 3, found one with null; choose another --output-dir/);
  });
});

it('drops a last line that was cut off', async () => {
  const path = journalPath(dir, { rank: 0, world: 1 });
  const entry = { task: 'nano', doc_id: 0, at: 1, error: 'é' };
  await writeFile(path, `${JSON.stringify(entry)}\n{"task":"na`);
  expect((await readJournals(dir)).map((read) => read.entry)).toEqual([entry]);
  await write({ rank: 0, world: 1 }, [{ ...entry, doc_id: 1 }]);
  expect((await readJournals(dir)).map((read) => read.entry.doc_id)).toEqual([0, 1]);
});

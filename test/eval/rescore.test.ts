import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { rescore } from '../../src/eval/rescore.ts';
import { InputError } from '../../src/io/errors.ts';
import { BENCHMARKS, fixtureLines, fixturePath, jsonLines, readFixture } from './fixtures.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rescore-'));
});
afterEach(() => rm(dir, { recursive: true }));

const METRICS: Record<string, string> = {
  blink_spatial: 'blink_acc',
  cvbench: 'cvbench_score',
  mmsibench: 'average',
  sparbench: 'sparbench_score',
  videomme: 'videomme_perception_score',
  vsibench: 'vsibench_score',
};

it('scores the answers of all benchmarks', async () => {
  const requests = BENCHMARKS.map((name) => ({ name, path: fixturePath(`${name}.jsonl`) }));
  const { files } = await rescore(requests, join(dir, 'out'));
  for (const name of BENCHMARKS) {
    const written = jsonLines(await readFile(join(dir, 'out', `${name}.results.jsonl`), 'utf8'));
    expect(written).toEqual(fixtureLines(name).map(({ prompt, target, result }) => ({ prompt, target, result })));
  }
  const { results } = JSON.parse(await readFile(files[0]!, 'utf8'));
  const expected = JSON.parse(readFixture('aggregate.json'));
  for (const [name, metric] of Object.entries(METRICS)) {
    expect(Math.abs(results[name][`${metric},none`] / expected[name][metric] - 1)).toBeLessThan(1e-12);
  }
  expect((await readdir(join(dir, 'out'))).sort()).toEqual(
    [...BENCHMARKS.map((name) => `${name}.results.jsonl`), files[0]!.split('/').at(-1)].sort(),
  );
});

it('reads lines of a samples file', async () => {
  const samples = readFixture('samples_example.jsonl').split('\n');
  const example = JSON.parse(readFixture('results_example.json'));
  const blink = join(dir, 'blink.jsonl');
  await writeFile(blink, samples.slice(0, 9).join('\r\n'));
  const vsi = join(dir, 'vsi.jsonl');
  await writeFile(vsi, samples.slice(21).join('\n'));
  const { document } = await rescore(
    [
      { name: 'vsibench', path: vsi },
      { name: 'blink_spatial', path: blink },
    ],
    dir,
  );
  const { blink_spatial, blink_multi_view_reasoning, blink_relative_depth, blink_spatial_relation, vsibench } =
    example.results;
  expect(document.results).toEqual({
    blink_spatial,
    blink_multi_view_reasoning,
    blink_relative_depth,
    blink_spatial_relation,
    vsibench,
  });
  expect((document.task_hashes as Record<string, string>).vsibench).toBe(example.task_hashes.vsibench);
});

it.each([
  ['', /must hold JSON lines, found none/],
  ['{"doc": {}', /line 1: expected JSON/],
  ['[]', /line 1: expected a JSON object, found/],
  ['{"response": "A"}', /line 1: doc must be an object, found nothing/],
  ['\n{"doc": {}}', /line 2: response \(or the first of resps\) must be text, found nothing/],
  [
    '{"doc": {"question": "q"}, "response": "A"}',
    /line 1: A document's column question_type must be one of .*, found nothing/,
  ],
])('refuses %j and writes nothing', async (text, message) => {
  const path = join(dir, 'answers.jsonl');
  await writeFile(path, text);
  const run = rescore([{ name: 'vsibench', path }], join(dir, 'out'));
  await expect(run).rejects.toThrow(InputError);
  await expect(run).rejects.toThrow(message);
  expect(await readdir(dir)).toEqual(['answers.jsonl']);
});

it('refuses a group line that names no member', async () => {
  const path = join(dir, 'answers.jsonl');
  await writeFile(path, '{"doc": {"sub_task": "Depth"}, "response": "A"}');
  const run = rescore([{ name: 'blink_spatial', path }], dir);
  await expect(run).rejects.toThrow(/must tell one of blink_multi_view_reasoning, .*, found "Depth"/);
});

it('refuses random lines in one sentence', async () => {
  const path = join(dir, 'answers.jsonl');
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...BENCHMARKS), fc.object(), fc.json(), async (name, doc, other) => {
      await writeFile(path, `${JSON.stringify({ doc, response: 'A' })}\n${other}`);
      await expect(rescore([{ name, path }], join(dir, 'out'))).rejects.toThrow(InputError);
    }),
    { numRuns: 60 },
  );
});

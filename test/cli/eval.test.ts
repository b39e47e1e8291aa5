import { existsSync } from 'node:fs';
import { appendFile, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { smallPicture } from '../eval/small_benchmarks.ts';
import { journalLines, killAfter, resultFiles, smallRun } from './eval_runs.ts';
import { runCli, temporaryFolder } from './run.ts';

/** What the tests look at in a results file. */
interface Results {
  readonly results: Record<string, unknown>;
  readonly config: Record<string, unknown>;
  readonly 'n-samples': Record<string, unknown>;
  readonly errors?: Record<string, { doc_id: number; error: string }[]>;
}

const folder = temporaryFolder();
const output = (name: string) => join(folder, name);
let flags: string[] = [];
let expected: Record<string, unknown> = {};

beforeAll(async () => {
  flags = await smallRun(folder);
  const { code, stdout, stderr } = await runCli([...flags, '--output-dir', output('one')]);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^\|cvbench +\|Yaml +\|none +\| +0\|cvbench_score /m);
  expect(stdout).toMatch(/^\| +Groups +\|/m);
  expect(stderr).toMatch(/^13 of 13 \[#{24}\], blink_spatial_relation blink_acc /m);
  expected = resultFiles(output('one'));
}, 240_000);

it('writes the files of the original', () => {
  const tasks = ['blink_multi_view_reasoning', 'blink_relative_depth', 'blink_spatial_relation', 'cvbench', 'vsibench'];
  expect(Object.keys(expected).sort()).toEqual(['results.json', ...tasks.map((task) => `samples_${task}.jsonl`)]);
  const results = expected['results.json'] as Results;
  expect(Object.keys(results.results)).toEqual(['blink_spatial', ...tasks]);
  expect(results['n-samples'].cvbench).toEqual({ original: 6, effective: 6 });
  expect(results.config.model_args).toMatch(/^min_pixels=4096,max_pixels=4096,max_num_frames=3,pretrained=/);
  expect(results.config.gen_kwargs).toEqual({ max_new_tokens: 4 });
  const samples = (expected['samples_vsibench.jsonl'] as string).trimEnd().split('\n');
  expect(samples.map((line) => JSON.parse(line).doc_id)).toEqual([0, 1, 2, 3]);
});

it('goes on after a kill, rank by rank, and ends in the same results', async () => {
  const at = (rank: number) => [...flags, '--rank', `${rank}`, '--world-size', '2', '--output-dir', output('two')];
  const journal = join(output('two'), 'journal-0-of-2.jsonl');
  await killAfter(at(0), journal, 2);
  expect(journalLines(journal).length).toBeLessThan(8);
  await appendFile(journal, '{"task":"cvbench","doc_id":0,"at'); // cut off while it was being written

  const other = await runCli(at(1));
  expect(other.code, other.stderr).toBe(0);
  expect(other.stderr).toMatch(/rank 1 is done; \d documents of other ranks are not answered yet\./);
  const early = await runCli(['eval', '--merge', output('two')]);
  expect(early.code).toBe(2);
  expect(early.stderr).toMatch(/expected an answer to every document, found none to \d of /);

  const again = await runCli(at(0));
  expect(again.code).toBe(2);
  expect(again.stderr).toMatch(/found journal-0-of-2\.jsonl in it; --resume goes on with that run\./);
  const resumed = await runCli([...at(0), '--resume']);
  expect(resumed.code, resumed.stderr).toBe(0);
  expect(resumed.stderr).toMatch(/^8 documents to ask, \d of them answered before$/m);
  expect(resultFiles(output('two'))).toEqual(expected);
}, 240_000);

it('keeps the answers so far when it is interrupted', async () => {
  const run = [...flags, '--benchmarks', 'vsibench', '--output-dir', output('interrupted')];
  const journal = join(output('interrupted'), 'journal-0-of-1.jsonl');
  expect(await killAfter(run, journal, 1, 'SIGINT')).toEqual({ code: 130, signal: null });
  const kept = journalLines(journal);
  expect(kept.length).toBeLessThan(4);
  expect((await runCli([...run, '--resume', '--limit', '2'])).stderr).toMatch(/with limit 2, found one with null/);
  const { code, stderr } = await runCli([...run, '--resume']);
  expect(code, stderr).toBe(0);
  expect(journalLines(journal).slice(0, kept.length)).toEqual(kept);
  const samples = 'samples_vsibench.jsonl';
  expect(resultFiles(output('interrupted'))[samples]).toBe(expected[samples]);
}, 240_000);

it('starts local ranks, merges, and merges again into the same bytes', async () => {
  const { code, stdout, stderr } = await runCli([...flags, '--num-processes', '2', '--output-dir', output('local')]);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/blink_spatial_relation/);
  expect(resultFiles(output('local'))).toEqual(expected);
  const model = join(output('local'), 'fixtures__spatialstack-tiny');
  const read = async () =>
    Promise.all((await readdir(model)).sort().map((name) => readFile(join(model, name), 'utf8')));
  const before = await read();
  await rm(model, { recursive: true });
  expect((await runCli(['eval', '--merge', folder])).code).toBe(0);
  expect(await read()).toEqual(before);
}, 240_000);

describe('documents that fail', () => {
  const failing = () => [...flags, '--output-dir', output('failing')];

  it('are recorded with their reason, counted and left out', async () => {
    const video = join(folder, 'vsibench', 'scannet', 'scene1.mp4');
    await rename(video, `${video}.kept`);
    await writeFile(video, 'no video');
    await rename(join(folder, 'cvbench', '3.png'), join(folder, 'cvbench', 'kept.png'));
    const strict = await runCli([...failing(), '--strict']);
    expect(strict.code).toBe(2);
    expect(strict.stderr).toMatch(/^missing: .*cvbench\/3\.png$/m);
    expect(strict.stderr).toMatch(/found 1 missing\.$/m);

    const { code, stderr } = await runCli(failing());
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/^1 file is missing; 3 documents will fail\.$/m);
    expect(stderr).toMatch(/^vsibench document 1 failed: video .*scene1\.mp4 is damaged or of an unknown format/m);
    expect(stderr).toMatch(/^5 documents failed and do not count\.$/m);
    const { errors, 'n-samples': counts } = resultFiles(output('failing'))['results.json'] as Results;
    expect(Object.keys(errors!)).toEqual(['vsibench', 'cvbench']);
    expect(errors!.cvbench!.map(({ doc_id }) => doc_id)).toEqual([3, 4, 5]);
    expect(counts.cvbench).toEqual({ original: 6, effective: 6 });

    await rename(`${video}.kept`, video);
    await rename(join(folder, 'cvbench', 'kept.png'), join(folder, 'cvbench', '3.png'));
  }, 240_000);

  it('are tried again by --resume', async () => {
    const { code, stderr } = await runCli([...failing(), '--resume']);
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/^13 documents to ask, 8 of them answered before$/m);
    expect(resultFiles(output('failing'))).toEqual(expected);
  }, 240_000);

  it('end a strict run when their turn comes', async () => {
    await writeFile(join(folder, 'cvbench', '0.png'), (await smallPicture(0)).subarray(0, 60));
    const { code, stderr } = await runCli([
      ...flags,
      '--strict',
      '--output-dir',
      output('strict'),
      '--benchmarks',
      'cvbench',
    ]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^cvbench document 0: picture .*0\.png is not a JPEG, PNG, WebP or BMP file or is damaged/m);
    expect(existsSync(join(output('strict'), 'fixtures__spatialstack-tiny'))).toBe(false);
    await writeFile(join(folder, 'cvbench', '0.png'), await smallPicture(0));
  }, 240_000);
});

it('scores its own samples again', async () => {
  const model = join(output('one'), 'fixtures__spatialstack-tiny');
  const name = (await readdir(model)).find((file) => file.endsWith('samples_vsibench.jsonl'))!;
  const { code, stdout } = await runCli([
    ...['eval', '--rescore', `vsibench=${join(model, name)}`, '--output-dir', output('rescored')],
  ]);
  expect(code).toBe(0);
  const results = stdout.trimEnd().split('\n').at(-1)!;
  const { vsibench } = (expected['results.json'] as Results).results;
  expect(JSON.parse(await readFile(results, 'utf8')).results).toEqual({ vsibench });
  const lines = (await readFile(join(output('rescored'), 'vsibench.results.jsonl'), 'utf8')).trimEnd().split('\n');
  expect(lines.map((line) => Object.keys(JSON.parse(line)))).toEqual(Array(4).fill(['prompt', 'target', 'result']));
});

it("follows the original's environment variables", async () => {
  const env = {
    MODEL_PATH: 'test/fixtures/spatialstack-tiny',
    MODEL_IMPL: 'qwen3_5',
    MODEL_ARGS_EXTRA: 'min_pixels=4096,max_pixels=4096',
    BENCHMARKS: 'blink_relative_depth,cvbench',
    GEN_KWARGS: 'max_new_tokens=2',
    LIMIT: '1',
    OUTPUT_PATH: output('script'),
  };
  const datasets = flags.slice(flags.indexOf('--dataset-dir'));
  const { code, stderr } = await runCli(['eval', ...datasets], { env });
  expect(code, stderr).toBe(0);
  for (const name of ['blink_relative_depth', 'cvbench']) {
    const { config, 'n-samples': counts } = resultFiles(join(output('script'), name))['results.json'] as Results;
    expect(config).toMatchObject({
      model_args:
        'pretrained=test/fixtures/spatialstack-tiny,use_flash_attention_2=true,max_num_frames=32,max_length=12800,min_pixels=4096,max_pixels=4096',
      limit: 1,
      gen_kwargs: { max_new_tokens: 2 },
    });
    expect(Object.keys(counts)).toEqual([name]);
  }
}, 120_000);

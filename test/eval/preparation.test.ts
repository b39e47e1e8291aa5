import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readNanoQuestions } from '../../scripts/nano.ts';
import { Preparation, type PreparationSettings, type PreparedDocument } from '../../src/eval/preparation.ts';
import { PreparationPool } from '../../src/eval/preparation_pool.ts';
import { decodeImage } from '../../src/io/image.ts';
import { prepareInput } from '../../src/models/prepare.ts';
import { loadPreprocessor, type Preprocessor } from '../../src/models/preprocessor.ts';
import type { TextInput } from '../../src/models/qwen3_5/input.ts';
import { fixtureLines } from './fixtures.ts';
import { smallPicture, writeBlink, writeCvbench, writeMmsibench, writeVsibench } from './small_benchmarks.ts';

const TINY = 'test/fixtures/spatialstack-tiny';
const FRAMES = [0, 7, 19].map((i) => fileURLToPath(new URL(`../fixtures/video/frame-${i}.png`, import.meta.url)));

let dir = '';
let settings: PreparationSettings;
let preprocessor: Preprocessor;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'preparation-'));
  settings = {
    modelFolder: TINY,
    pixelLimits: { minPixels: 4096, maxPixels: 4096 },
    datasetFolders: {
      cvbench: await writeCvbench(join(dir, 'cvbench'), 6),
      vsibench: await writeVsibench(join(dir, 'vsibench'), 4),
      blink_spatial: await writeBlink(join(dir, 'blink'), 2),
    },
    shuffle: false,
    maxNumFrames: 3,
    addFrameIndex: false,
    enableThinking: false,
    system: undefined,
  };
  preprocessor = await loadPreprocessor(TINY, settings.pixelLimits);
});
afterAll(() => rm(dir, { recursive: true }));

function promptOf(document: PreparedDocument | undefined): string {
  if (document === undefined || 'error' in document) throw new Error(document?.error ?? 'no document');
  const ids = [...document.text.inputIds];
  return preprocessor.tokenizer
    .decode(ids, { skipSpecialTokens: false })
    .replaceAll(/(<\|image_pad\|>)+/g, '<picture>');
}

function textOf(document: PreparedDocument): TextInput {
  if ('error' in document) throw new Error(document.error);
  return document.text;
}

describe('a prompt', () => {
  it('is that of the task, with the pictures before it', async () => {
    const { documents, pictures } = await new Preparation(settings).prepare({ task: 'cvbench', docIds: [0] });
    const line = fixtureLines('cvbench')[0]!;
    expect(promptOf(documents[0])).toBe(
      `<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|><picture><|vision_end|>${line.prompt}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n`,
    );
    const images = [await decodeImage(await smallPicture(0))];
    const options = { images, prompt: line.prompt, enableThinking: false, addFrameIndex: false } as const;
    const { input } = await prepareInput(preprocessor, { ...options, geometryPreprocessing: 'raw' });
    expect(pictures).toEqual({ images: input.images, geometry: input.geometry });
    expect(documents[0]).toMatchObject({ docId: 0, doc: { idx: 0 }, text: { inputIds: input.inputIds } });
  });

  it('shows frames spread over a video, decoded as Pillow and ffmpeg do', async () => {
    const group = { task: 'vsibench', docIds: [0, 2] };
    const { documents, pictures } = await new Preparation({ ...settings, addFrameIndex: true }).prepare(group);
    // The clip has 20 frames: of these, 0, trunc(9.5) and 19.
    const [first, , last] = await Promise.all(FRAMES.map((path) => decodeImage(path)));
    const options = { images: [first!, first!, last!], geometryPreprocessing: 'raw' } as const;
    const { input } = await prepareInput(preprocessor, { ...options, prompt: 'x', addFrameIndex: true });
    expect(pictures.images!.gridThw).toEqual(input.images!.gridThw);
    const size = input.images!.data.length / 3;
    for (const [from, to] of [
      [0, size],
      [2 * size, 3 * size],
    ]) {
      const [a, b] = [pictures, input].map(({ images }) => images!.data.subarray(from, to));
      expect(Math.max(...a!.map((value, i) => Math.abs(value - b![i]!)))).toBeLessThan(3);
    }
    const frames = [0, 1, 2].map((i) => `Frame-${i}: <|vision_start|><picture><|vision_end|>`).join('');
    expect(documents.map((document) => promptOf(document).includes(`user\n${frames}These are frames`))).toEqual([
      true,
      true,
    ]);
    expect(documents.map(textOf)[0]!.inputIds).not.toEqual(documents.map(textOf)[1]!.inputIds);
  });

  it('numbers several pictures, not a single one', async () => {
    const preparation = new Preparation({
      ...settings,
      addFrameIndex: true,
      enableThinking: true,
      system: 'Be brief.',
    });
    const group = (docId: number) => preparation.prepare({ task: 'blink_relative_depth', docIds: [docId] });
    const [one, two] = [(await group(0)).documents[0], (await group(1)).documents[0]].map(promptOf);
    expect(one).toMatch(
      /^<\|im_start\|>system\nBe brief\..*user\n<\|vision_start\|><picture><\|vision_end\|>Return exactly/s,
    );
    expect(two).toMatch(
      /user\nFrame-0: <\|vision_start\|>.*Frame-1: <\|vision_start\|><picture><\|vision_end\|>Return/s,
    );
    expect(one).toMatch(/<\|im_start\|>assistant\n<think>\n$/);
  });

  it('shows pictures inside parquet columns', async () => {
    const folder = await writeMmsibench(join(dir, 'mmsibench'), 5);
    const preparation = new Preparation({ ...settings, datasetFolders: { mmsibench: folder } });
    expect(await preparation.count('mmsibench')).toBe(5);
    const surveyed = await preparation.survey({ task: 'mmsibench', docIds: [0, 4] });
    expect(surveyed.map(({ key, missing }) => [key, missing])).toEqual(Array(2).fill([undefined, []]));
    for (const docId of [3, 0, 4]) {
      const { documents, pictures } = await preparation.prepare({ task: 'mmsibench', docIds: [docId] });
      const { prompt, doc } = fixtureLines('mmsibench')[docId]!;
      const seeds = docId % 2 === 0 ? [docId] : [docId, docId + 1];
      const images = await Promise.all(seeds.map(async (seed) => decodeImage(await smallPicture(seed))));
      const options = { images, prompt, enableThinking: false, addFrameIndex: false } as const;
      const { input } = await prepareInput(preprocessor, { ...options, geometryPreprocessing: 'raw' });
      expect(pictures).toEqual({ images: input.images, geometry: input.geometry });
      const { question_type } = doc;
      expect(documents).toMatchObject([
        { docId, doc: { id: docId, question_type }, text: { inputIds: input.inputIds } },
      ]);
    }
  });

  it('leaves out what the original drops: a video ending in capitals', async () => {
    const folder = join(dir, 'videomme');
    await mkdir(join(folder, 'data'), { recursive: true });
    const doc = { ...fixtureLines('videomme')[0]!.doc, videoID: 'a' };
    await writeFile(join(folder, 'test.jsonl'), JSON.stringify(doc));
    await copyFile('test/fixtures/video/clip.mp4', join(folder, 'data', 'a.MP4'));
    const preparation = new Preparation({ ...settings, datasetFolders: { videomme: folder } });
    const { documents, pictures } = await preparation.prepare({ task: 'videomme', docIds: [0] });
    expect(pictures).toEqual({});
    expect(promptOf(documents[0])).toMatch(/user\nSelect the best answer/);
  });

  it('of nano is as the document says', async () => {
    const preparation = new Preparation({
      ...settings,
      modelFolder: 'nano',
      pixelLimits: {},
      datasetFolders: { nano: 'nano' },
    });
    const { documents } = await preparation.prepare({ task: 'nano', docIds: [3, 5] });
    const questions = (await readNanoQuestions()).filter((_, i) => i === 3 || i === 5);
    const lengths = documents.map((document) => textOf(document).inputIds.length);
    expect(lengths).toEqual(questions.map((question) => question.own_limits.prompt_tokens));
  });
});

describe('a survey', () => {
  it('finds out which documents show the same files, and which files are missing', async () => {
    const preparation = new Preparation(settings);
    const keys = async (task: string, docIds: number[]) =>
      (await preparation.survey({ task, docIds })).map(({ key }) => key);
    const [a, b, c, d] = await keys('vsibench', [0, 1, 2, 3]);
    expect([a === c, b === d, a === b]).toEqual([true, true, false]);
    expect(await keys('blink_relative_depth', [0])).toEqual([undefined]);
    const [third, fourth, fifth] = await keys('cvbench', [3, 4, 5]);
    expect([third === fourth, fourth === fifth]).toEqual([true, true]);

    const folder = join(dir, 'lacking');
    await mkdir(folder);
    await writeFile(join(folder, 'test.jsonl'), '{"dataset": "scannet", "scene_name": "a"}\n{}');
    const lacking = new Preparation({ ...settings, datasetFolders: { vsibench: folder } });
    expect(await lacking.count('vsibench')).toBe(2);
    expect(await lacking.survey({ task: 'vsibench', docIds: [0, 1] })).toEqual([
      { docId: 0, key: undefined, missing: [join(folder, 'scannet', 'a.mp4')] },
      { docId: 1, key: undefined, missing: [] },
    ]);
  });
});

describe('in threads', () => {
  it('gives the same, in order, ahead of use', async () => {
    const pool = new PreparationPool(settings);
    try {
      const groups = [
        { task: 'vsibench', docIds: [1, 3] },
        { task: 'cvbench', docIds: [2] },
        { task: 'vsibench', docIds: [0] },
        { task: 'cvbench', docIds: [0, 99] },
        { task: 'blink_relative_depth', docIds: [1] },
      ];
      expect(await pool.count('cvbench')).toBe(6);
      const alone = new Preparation(settings);
      let next = 0;
      for await (const group of pool.prepare(groups)) expect(group).toEqual(await alone.prepare(groups[next++]!));
      expect(next).toBe(groups.length);
    } finally {
      await pool.close();
    }
  });

  it('refuses what cannot be read', async () => {
    const pool = new PreparationPool({ ...settings, datasetFolders: { cvbench: join(dir, 'nowhere') } });
    await expect(pool.count('cvbench')).rejects.toThrow(/cvbench: expected a dataset folder at .*nowhere, found none/);
    await pool.close();
    await expect(pool.count('cvbench')).rejects.toThrow(/a preparation thread ended/);
  });
});

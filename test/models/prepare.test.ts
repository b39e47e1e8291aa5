import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { decodeImage, type RgbImage } from '../../src/io/image.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { type LoadedModel, loadLanguageModel } from '../../src/models/load.ts';
import { type PromptOptions, prepareInput } from '../../src/models/prepare.ts';
import { readReferenceInput } from '../../src/models/qwen3_5/replay.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { patchValues } from '../patches.ts';

const PICTURES = ['sofas.jpg', 'office_chairs.jpg', '2chairs.png'];
const DESCRIBE = 'Describe this scene in a few complete sentences.';
const device = useDevice();
let pictures: RgbImage[];
beforeAll(async () => {
  pictures = await Promise.all(PICTURES.map((name) => decodeImage(`test/fixtures/images/${name}`, { alpha: 'white' })));
});

/** A checkpoint for the tests of a `describe`. */
function useModel(folder: string, limits: { minPixels?: number; maxPixels?: number } = {}): () => LoadedModel {
  let loaded: LoadedModel | undefined;
  beforeAll(async () => {
    loaded = await loadLanguageModel(device(), `test/fixtures/${folder}`, { dtype: 'float32', ...limits });
  });
  afterAll(() => loaded?.close());
  return () => loaded!;
}

/** As the fixtures were made: without thinking and frame numbers, preprocessed as infer.py does, unless told otherwise. */
function prepare(loaded: LoadedModel, options: Partial<PromptOptions>): ReturnType<typeof prepareInput> {
  return prepareInput(loaded, {
    images: [],
    prompt: DESCRIBE,
    enableThinking: false,
    addFrameIndex: false,
    geometryPreprocessing: '518',
    ...options,
  });
}

/** The prompt is that of a reference file, from its text to the bytes of its pictures. */
async function expectReference(loaded: LoadedModel, name: string, options: Partial<PromptOptions>): Promise<void> {
  const { input, text } = await prepare(loaded, options);
  const reference = await Checkpoint.open(`${loaded.path}/reference/${name}.safetensors`);
  try {
    expect(text.replaceAll(/(<\|image_pad\|>)+/g, '<|image_pad|>')).toBe(reference.metadata.text);
    expect([...input.inputIds]).toEqual([...(await reference.readInt32('input_ids'))]);
    const expected = await readReferenceInput(reference, loaded.model);
    expect(input.images?.gridThw).toEqual(expected.images?.gridThw);
    expect(input.images === undefined).toBe(expected.images === undefined);
    // The bytes agree exactly; their scaling to floats may round differently.
    if (input.images !== undefined) {
      expect(maxAbsDifference(patchValues(input.images), patchValues(expected.images!))).toBeLessThan(1e-6);
    }
    if (reference.has('mrope_position_ids')) {
      expect([...input.positions]).toEqual([...(await reference.readInt32('mrope_position_ids'))]);
      expect([input.ropeDelta]).toEqual([...(await reference.readInt32('rope_delta'))]);
    }
    const { data, ...sizes } = input.geometry ?? {};
    const { data: expectedData, ...expectedSizes } = expected.geometry ?? {};
    expect(sizes).toEqual(expectedSizes);
    if (data !== undefined) expect(maxAbsDifference(data, expectedData!)).toBe(0);
  } finally {
    await reference.close();
  }
}

describe('prompts equal the fixtures', () => {
  describe('qwen3_5-tiny', () => {
    const loaded = useModel('qwen3_5-tiny');
    it('text', () => expectReference(loaded(), 'text', { prompt: 'Which object is closer to the camera?' }));
    it('image', () => expectReference(loaded(), 'image', { images: pictures.slice(0, 1) }));
    it('images', () => expectReference(loaded(), 'images', { images: pictures, addFrameIndex: true }));
  });

  describe('qwen3_5-headdim', () => {
    const loaded = useModel('qwen3_5-headdim');
    it('image', () => expectReference(loaded(), 'image', { images: pictures.slice(0, 1) }));
  });

  describe('spatialstack-tiny', () => {
    const loaded = useModel('spatialstack-tiny');
    it('image', () => expectReference(loaded(), 'image', { images: pictures.slice(0, 1) }));
    it('images', () =>
      expectReference(loaded(), 'images', {
        images: pictures,
        addFrameIndex: true,
        prompt: 'Which object is closer to the camera, the sofa or the table?',
      }));
    it('images_last', () =>
      expectReference(loaded(), 'images_last', {
        images: pictures.slice(0, 2),
        prompt: 'How many chairs are in the room?',
      }));
  });
});

describe('the options of a prompt', () => {
  const loaded = useModel('spatialstack-tiny');

  it('ask for a thought, for none, or leave it to the template', async () => {
    const ending = async (enableThinking: boolean | undefined) => {
      const { prompt, ...rest } = { prompt: 'Why?', images: [], addFrameIndex: false } as const;
      const thinking = enableThinking !== undefined && { enableThinking };
      const options = { ...rest, ...thinking, prompt, geometryPreprocessing: '518' } as const;
      const { input, text } = await prepareInput(loaded(), options);
      expect([...(await loaded().tokenizer.encode(text))]).toEqual([...input.inputIds]);
      return text.slice(text.lastIndexOf('<|im_start|>'));
    };
    expect(await ending(false)).toBe('<|im_start|>assistant\n<think>\n\n</think>\n\n');
    expect(await ending(true)).toBe('<|im_start|>assistant\n<think>\n');
    expect(await ending(undefined)).toBe('<|im_start|>assistant\n<think>\n');
  });

  it('number the frames and replace the system message', async () => {
    const options = { images: pictures.slice(0, 2), addFrameIndex: true, system: 'Be brief.', prompt: 'Where?' };
    const { text } = await prepare(loaded(), options);
    const picture = (i: number) => `Frame-${i}: <|vision_start|>${'<|image_pad|>'.repeat(12)}<|vision_end|>`;
    expect(text).toBe(
      `<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n${picture(0)}${picture(1)}Where?<|im_end|>\n` +
        '<|im_start|>assistant\n<think>\n\n</think>\n\n',
    );
  });

  it('give the encoder the raw picture, or the one that is 518 pixels wide', async () => {
    const tall: RgbImage = { width: 60, height: 120, data: new Uint8Array(60 * 120 * 3).fill(90) };
    const sides = async (geometryPreprocessing: 'raw' | '518') => {
      const { input } = await prepare(loaded(), { images: [tall], geometryPreprocessing });
      const [, rows, columns] = input.images!.gridThw[0]!;
      expect(input.geometry).toMatchObject({ frames: 1, height: rows * 14, width: columns * 14 });
      return rows / columns;
    };
    expect(await sides('raw')).toBe(2);
    expect(await sides('518')).toBe(1); // what is taller than wide loses its top and bottom
  });

  it('make raw pictures of different sizes one size for the encoder only', async () => {
    const { input } = await prepare(loaded(), { images: pictures.slice(1), geometryPreprocessing: 'raw' });
    const grids = input.images!.gridThw;
    const largest = (axis: 1 | 2) => 14 * Math.max(...grids.map((grid) => grid[axis]));
    expect(input.geometry).toMatchObject({ frames: 2, height: largest(1), width: largest(2) });
  });

  it('have no geometry without pictures', async () => {
    const { input } = await prepare(loaded(), {});
    expect([input.images, input.geometry]).toEqual([undefined, undefined]);
  });

  it('are refused for pictures where the export is text only', async () => {
    const textOnly = { ...loaded(), config: { ...loaded().config, vision: undefined } };
    const refused = prepare(textOnly, { images: pictures.slice(0, 1) });
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(/text-only export; it cannot take pictures/);
  });
});

describe('limits given in place of the checkpoint', () => {
  const loaded = useModel('qwen3_5-tiny', { minPixels: 200_000, maxPixels: 250_000 });

  it('bound the area of every picture', async () => {
    const { input } = await prepare(loaded(), { images: pictures });
    for (const [, rows, columns] of input.images!.gridThw) {
      expect(rows * columns * 256).toBeGreaterThan(200_000);
      expect(rows * columns * 256).toBeLessThan(250_000);
    }
  });
});

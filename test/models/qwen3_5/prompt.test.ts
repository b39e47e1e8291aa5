import { describe, expect, it } from 'vitest';
import { ChatTemplate } from '../../../src/io/chat_template.ts';
import { InputError } from '../../../src/io/errors.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import { Tokenizer } from '../../../src/io/tokenizer.ts';
import { expandImagePads, expandVideoPads } from '../../../src/models/qwen3_5/prompt.ts';

async function reference(path: string, grids: string) {
  const file = await Checkpoint.open(`test/fixtures/${path}.safetensors`);
  try {
    const flat = Array.from(await file.readInt32(grids));
    const gridThw = Array.from({ length: flat.length / 3 }, (_, i) => flat.slice(3 * i, 3 * i + 3));
    return { text: file.metadata.text ?? '', inputIds: Array.from(await file.readInt32('input_ids')), gridThw };
  } finally {
    await file.close();
  }
}

describe('expandImagePads', () => {
  it.each([
    'qwen3_5-tiny/reference/image',
    'qwen3_5-tiny/reference/images',
    'qwen3_5-headdim/reference/image',
    'spatialstack-tiny/reference/image',
    'spatialstack-tiny/reference/images',
    'spatialstack-tiny/reference/images_last',
  ])('gives the input ids of %s', async (path) => {
    const { text, inputIds, gridThw } = await reference(path, 'image_grid_thw');
    const tokenizer = await Tokenizer.load(`test/fixtures/${path.split('/')[0]}`);
    expect(Array.from(await tokenizer.encode(expandImagePads(text, gridThw, 2)))).toEqual(inputIds);
  });

  it('refuses counts and grids that do not match', () => {
    const one = 'a<|image_pad|>b';
    expect(expandImagePads(one, [[1, 2, 4]], 2)).toBe('a<|image_pad|><|image_pad|>b');
    expect(() => expandImagePads(one, [], 2)).toThrow(InputError);
    expect(() => expandImagePads('no placeholder', [[1, 2, 2]], 2)).toThrow(/one <\|image_pad\|> for each of the 1/);
    expect(() => expandImagePads(one, [[1, 3, 4]], 2)).toThrow(/divisible by 2/);
  });
});

describe('expandVideoPads', () => {
  it('gives the text and the input ids of the video fixture', async () => {
    const { text, inputIds, gridThw } = await reference('qwen3_5-tiny/reference/video', 'video_grid_thw');
    expect(gridThw).toEqual([[4, 6, 8]]);
    const template = await ChatTemplate.load('test/fixtures/qwen3_5-tiny');
    const chat = template.render(
      [
        { role: 'system', content: 'You are a helpful assistant.' },
        { role: 'user', content: [{ type: 'video' }, { type: 'text', text: 'How many chairs are in the room?' }] },
      ],
      { addGenerationPrompt: true },
    );
    // 7 frames at 4 per second, the last one twice: each group's time is the mean of its two frames'.
    const expanded = expandVideoPads(chat, gridThw, [[0.125, 0.625, 1.125, 1.5]], 2);
    expect(expanded).toBe(text);
    const tokenizer = await Tokenizer.load('test/fixtures/qwen3_5-tiny');
    expect(Array.from(await tokenizer.encode(expanded))).toEqual(inputIds);
  });

  it('rounds seconds as Python does and refuses counts that do not match', () => {
    const grid = [[1, 2, 2]];
    const group = '<|vision_start|><|video_pad|><|vision_end|>';
    expect(expandVideoPads('<|video_pad|>', grid, [[0.25]], 2)).toBe(`<0.2 seconds>${group}`);
    expect(expandVideoPads('<|video_pad|>', grid, [[0.75]], 2)).toBe(`<0.8 seconds>${group}`);
    expect(() => expandVideoPads('<|video_pad|>', grid, [[]], 2)).toThrow(InputError);
    expect(() => expandVideoPads('<|video_pad|>', grid, [], 2)).toThrow(/one timestamp for each/);
    expect(() => expandVideoPads('', grid, [[0]], 2)).toThrow(InputError);
  });
});

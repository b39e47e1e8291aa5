import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { loadLanguageModel } from '../../src/models/load.ts';
import { Cache } from '../../src/models/qwen3_5/cache.ts';
import type { ModelInput } from '../../src/models/qwen3_5/input.ts';
import { type LanguageModel, rotaryAngles } from '../../src/models/qwen3_5/model.ts';
import { rotaryTable } from '../../src/models/qwen3_5/positions.ts';
import { readReferenceInput } from '../../src/models/qwen3_5/replay.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';

const device = useDevice();

/** Calls `body` with a copy of a checkpoint whose decoder ends after so many layers. */
async function cutAfter(folder: string, layers: number, body: (path: string) => Promise<void>): Promise<void> {
  const path = await mkdtemp(join(tmpdir(), 'cut-'));
  try {
    await cp(folder, path, { recursive: true });
    const config = JSON.parse(await readFile(join(path, 'config.json'), 'utf8'));
    config.text_config.num_hidden_layers = layers;
    config.text_config.layer_types.splice(layers);
    await writeFile(join(path, 'config.json'), JSON.stringify(config));
    await body(path);
  } finally {
    await rm(path, { recursive: true });
  }
}

/** A prompt's first tokens. */
function firstTokens(input: ModelInput, count: number): ModelInput {
  const length = input.inputIds.length;
  const axes = [0, 1, 2].flatMap((axis) => [...input.positions.subarray(axis * length, axis * length + count)]);
  return { ...input, inputIds: input.inputIds.slice(0, count), positions: Int32Array.from(axes) };
}

/** The prompt's last row after the final norm, and that of a token after it. */
async function lastRows(model: LanguageModel, input: ModelInput, lastOnly: boolean): Promise<Float32Array[]> {
  const { config, text } = model;
  const tokens = input.inputIds.length;
  const width = config.text.hidden_size;
  const cache = new Cache(device(), config.text, model.precision, tokens + 1);
  const normed = await model.prefill(input, cache, { lastOnly });
  expect(normed.shape).toEqual([lastOnly ? 1 : tokens, width]);
  expect(cache.length).toBe(tokens);
  const row = (await device().readFloat32(normed)).slice(-width);
  device().dispose(normed);
  const angles = rotaryTable(new Int32Array(3).fill(tokens + input.ropeDelta), config.text);
  const next = device().tidy(() => {
    const table = device().upload(angles, [1, rotaryAngles(config), 2], 'f32');
    return text.forward(text.embed(device().upload(Int32Array.of(7), [1], 'i32')), table, cache);
  });
  const rows = [row, await device().readFloat32(next)];
  device().dispose(next);
  cache.destroy();
  return rows;
}

it.each([
  { folder: 'qwen3_5-tiny', name: 'text', layers: 8 },
  { folder: 'qwen3_5-tiny', name: 'text', layers: 7 }, // the last one has a delta net
  { folder: 'spatialstack-tiny', name: 'images', layers: 8 },
  { folder: 'spatialstack-tiny', name: 'images', layers: 3 }, // geometry is added to the last one
])('a prompt of which only the last row is wanted: $folder, $name, $layers layers', async (given) => {
  await cutAfter(`test/fixtures/${given.folder}`, given.layers, async (path) => {
    const { model, close } = await loadLanguageModel(device(), path, { dtype: 'float32' });
    const reference = await Checkpoint.open(join(path, `reference/${given.name}.safetensors`));
    try {
      const input = await readReferenceInput(reference, model);
      const [row, next] = await lastRows(model, input, false);
      const [onlyRow, onlyNext] = await lastRows(model, input, true);
      expect(relativeL2(onlyRow!, row!)).toBeLessThan(1e-6);
      expect(relativeL2(onlyNext!, next!)).toBeLessThan(1e-6);
      if (input.images !== undefined) return;
      const two = firstTokens(input, 2);
      const [[rowOfTwo], [onlyRowOfTwo]] = [await lastRows(model, two, false), await lastRows(model, two, true)];
      expect(relativeL2(onlyRowOfTwo!, rowOfTwo!)).toBeLessThan(1e-6);
    } finally {
      await reference.close();
      await close();
    }
  });
});

import { afterEach, describe, expect, it, vi } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { type LoadedModel, loadLanguageModel } from '../../src/models/load.ts';
import { generate } from '../../src/models/qwen3_5/generate.ts';
import { blackPictures } from '../../src/models/qwen3_5/image_processor.ts';
import { forget } from '../../src/models/qwen3_5/input.ts';
import { readReferenceInput } from '../../src/models/qwen3_5/replay.ts';
import { VGGT } from '../../src/models/vggt/vggt.ts';
import type { Constants } from '../../src/tensor/shader.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';

const device = useDevice();

afterEach(() => {
  vi.restoreAllMocks();
});

const keyOf = (path: string, constants: Constants) => `${path} ${JSON.stringify(constants)}`;

/** The pipelines that a rehearsal asks for, without compiling them. */
async function rehearsed(rehearse: () => void): Promise<Set<string>> {
  const asked = new Set<string>();
  const request = vi.spyOn(device().pipelines, 'request').mockImplementation((path, constants) => {
    asked.add(keyOf(path, constants));
    return Promise.resolve();
  });
  const { allocated } = device().memory;
  await device().rehearse(rehearse);
  expect(device().memory.allocated).toBe(allocated);
  request.mockRestore();
  return asked;
}

/** The pipelines that are used from now on. */
function used(): Set<string> {
  const all = new Set<string>();
  const { pipelines } = device();
  const get = pipelines.get.bind(pipelines);
  vi.spyOn(pipelines, 'get').mockImplementation((path, constants) => {
    all.add(keyOf(path, constants));
    return get(path, constants);
  });
  return all;
}

/** Loads as on a GPU: what is rehearsed comes before the weights. Nothing is compiled. */
async function rehearsing<T>(load: () => Promise<T>): Promise<T> {
  const request = vi.spyOn(device().pipelines, 'request').mockResolvedValue();
  const { isSoftware } = device().opened;
  Object.assign(device().opened, { isSoftware: false });
  const loaded = await load().finally(() => Object.assign(device().opened, { isSoftware }));
  expect(request).toHaveBeenCalled();
  request.mockRestore();
  return loaded;
}

const noise = (count: number) => new Uint8Array(count).map((_, i) => (i * 7919) % 251);

describe('a rehearsal while weights load leaves nothing behind of weights that had not arrived', () => {
  it('in VGGT, for frames of the size that is rehearsed', async () => {
    const load = () => VGGT.load(device(), 'test/fixtures/vggt-tiny', { dtype: 'bfloat16', heads: [] });
    const [height, width] = [392, 518];
    const images = { data: noise(3 * height * width), frames: 1, height, width };
    const patchTokens = async (vggt: VGGT) => {
      const tokens = vggt.aggregator.patchEmbed.forward(images);
      const values = await device().readFloat32(tokens);
      device().dispose(tokens);
      vggt.close();
      return values;
    };
    const expected = await patchTokens(await load());
    expect(relativeL2(await patchTokens(await rehearsing(load)), expected)).toBe(0);
  });

  it('in SpatialStack, for pictures of the size that is rehearsed', async () => {
    const load = () => loadLanguageModel(device(), 'test/fixtures/spatialstack-tiny', { dtype: 'bfloat16' });
    const sights = async ({ model, settings, close }: LoadedModel) => {
      const [rows, columns] = [28, 36];
      const { patch_size: side } = settings!.geometry_encoder_config;
      const black = blackPictures(1, [rows, columns], model.config.vision!.patch_size);
      const values = Float32Array.from({ length: 3 * 256 }, (_, i) => (i % 256) / 127.5 - 1);
      const [height, width] = [rows * side, columns * side];
      const sight = await model.look({
        images: { ...black, data: noise(black.data.length), values },
        geometry: { data: noise(3 * height * width), frames: 1, height, width },
      });
      const found: Float32Array[] = [];
      for (const tensor of [sight.images!, ...sight.features]) found.push(await device().readFloat32(tensor));
      forget(sight);
      await close();
      return found;
    };
    const expected = await sights(await load());
    const found = await sights(await rehearsing(load));
    expect(found.length).toBeGreaterThan(1);
    expect(found.map((values, i) => relativeL2(values, expected[i]!))).toEqual(found.map(() => 0));
  });
});

/** A frame of 40 tokens: 32 rows and fewer have kernels of their own where products run in registers. */
const TOKENS_ENOUGH = [98, 70] as const;

describe('a rehearsal asks for every kernel', () => {
  it.each([
    ['qwen3_5-tiny', 'text'],
    ['qwen3_5-tiny', 'images'],
    ['spatialstack-tiny', 'images'],
  ])('of a question to %s: %s', async (folder, name) => {
    const path = `test/fixtures/${folder}`;
    const { model, close } = await loadLanguageModel(device(), path, { dtype: 'bfloat16' });
    const asked = await rehearsed(() => model.rehearse());
    const reference = await Checkpoint.open(`${path}/reference/${name}.safetensors`);
    const input = await readReferenceInput(reference, model);
    await reference.close();
    const all = used();
    for await (const _ of generate(model, input, { maxNewTokens: 2, stopTokens: [] }));
    expect([...all].filter((key) => !asked.has(key))).toEqual([]);
    expect(all.size).toBeGreaterThan(10);
    await close();
  });

  it.each([9, 20])('of a question of %i tokens to qwen3_5-tiny', async (tokens) => {
    const { model, close } = await loadLanguageModel(device(), 'test/fixtures/qwen3_5-tiny', { dtype: 'bfloat16' });
    const asked = await rehearsed(() => model.rehearse());
    const positions = Int32Array.from({ length: 3 * tokens }, (_, i) => i % tokens);
    const input = { inputIds: new Int32Array(tokens).fill(5), positions, ropeDelta: 0 };
    const all = used();
    for await (const _ of generate(model, input, { maxNewTokens: 2, stopTokens: [] }));
    expect([...all].filter((key) => !asked.has(key))).toEqual([]);
    await close();
  });

  it('of the aggregator of vggt-tiny', async () => {
    const vggt = await VGGT.load(device(), 'test/fixtures/vggt-tiny', { dtype: 'bfloat16', heads: [] });
    const asked = await rehearsed(() => vggt.rehearse());
    const all = used();
    const [height, width] = TOKENS_ENOUGH;
    const [output] = vggt.aggregator.forward(
      { data: new Uint8Array(3 * height * width), frames: 1, height, width },
      [-1],
    );
    device().dispose(output!);
    expect([...all].filter((key) => !asked.has(key))).toEqual([]);
    vggt.close();
  });

  it('of a prediction of vggt-tiny', async () => {
    const path = 'test/fixtures/vggt-tiny';
    const vggt = await VGGT.load(device(), path, { dtype: 'bfloat16' });
    const asked = await rehearsed(() => vggt.rehearse());
    const all = used();
    const [height, width] = TOKENS_ENOUGH;
    const images = { data: noise(3 * height * width), frames: 1, height, width };
    // One to four rows (points in a frame) have kernels of their own.
    await vggt.predict(images, { queryPoints: Float32Array.from({ length: 10 }, (_, i) => 3 * i) });
    expect([...all].filter((key) => !asked.has(key))).toEqual([]);
    expect(all.size).toBeGreaterThan(20);
    vggt.close();
  });
});

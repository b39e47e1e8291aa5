import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import { type LoadedModel, loadLanguageModel } from '../../../src/models/load.ts';
import type { DtypeName } from '../../../src/models/precision.ts';
import { prepareInput } from '../../../src/models/prepare.ts';
import { forget, type ModelInput } from '../../../src/models/qwen3_5/input.ts';
import { readReferenceInput } from '../../../src/models/qwen3_5/replay.ts';
import { SpatialStack } from '../../../src/models/spatialstack/model.ts';
import { relativeL2 } from '../../compare.ts';
import { useDevice } from '../../device.ts';
import { Random } from '../../random.ts';
import { CheckpointFolder, type Json, type Tensors } from '../checkpoints.ts';
import { composed, geoNorm, mlp, type PatchGrid, prefilled, RandomModules, windowOrder } from './variants.ts';

const ORIGINAL = 'test/fixtures/spatialstack-tiny';
const FUSION = 'model.language_feature_fusion.fusion_layers';
/** Widths of the language model, of geometry features and of the vision tower in the fixture; `INNER` is ours to choose. */
const TEXT = 96;
const GEOMETRY = 96;
const VISION = 64;
const INNER = 80;

const device = useDevice();
const scratch = new CheckpointFolder();

/** The fixture with other modules and settings for the fusion. */
function variant({ tensors }: RandomModules, settings: Json): Promise<string> {
  const keep = (name: string) => !name.includes('language_feature_fusion');
  return scratch.variant(ORIGINAL, (original, config) => ({
    tensors: new Map([...[...original].filter(([name]) => keep(name)), ...tensors]) satisfies Tensors,
    config: { ...config, ...settings },
  }));
}

/** Loads a variant and its prompt with three pictures for `use`. */
async function withVariant(
  path: string,
  use: (model: SpatialStack, input: ModelInput) => Promise<void>,
  dtype: DtypeName = 'float32',
): Promise<void> {
  const loaded = await loadLanguageModel(device(), path, { dtype });
  try {
    const model = loaded.model;
    if (!(model instanceof SpatialStack)) throw new TypeError('no SpatialStack was loaded');
    await use(model, await promptOf(loaded, join(ORIGINAL, 'reference/images')));
  } finally {
    await loaded.close();
  }
}

async function promptOf({ model }: LoadedModel, name: string): Promise<ModelInput> {
  const reference = await Checkpoint.open(`${name}.safetensors`);
  const input = await readReferenceInput(reference, model);
  await reference.close();
  return input;
}

/** The encoder's tokens: a camera token and four registers before each picture's patches. */
function gridOf({ images }: ModelInput): PatchGrid {
  const [, rows, columns] = images!.gridThw[0]!;
  return { pictures: images!.gridThw.length, rows, columns, special: 5 };
}

function sum(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value + b[i]!);
}

/**
 * Every hidden state and the result agree with those of the composition. `moved`, of rows that differ in their last bits alone, shows how far rounding reaches:
 * the mixers of a random network may multiply it by two hundred, which no order of summation avoids.
 */
function expectSame(
  actual: ReadonlyMap<string, Float32Array>,
  expected: ReadonlyMap<string, Float32Array>,
  moved: ReadonlyMap<string, Float32Array> = expected,
): void {
  expect(expected.size).toBe(8 + 8 + 1); // hidden states and mixers of eight layers, and the result
  for (const [name, values] of expected) {
    const rounding = relativeL2(moved.get(name)!, values);
    expect(rounding, name).toBeLessThan(2e-5);
    expect(relativeL2(actual.get(name)!, values), name).toBeLessThan(Math.max(2e-5, 3 * rounding));
  }
}

/** The values with about half a unit of their last place added or taken. */
function lastBitsMoved(values: Float32Array): Float32Array {
  const random = new Random(7);
  return values.map((value) => value * (1 + (random.uniform() < 0.5 ? -6e-8 : 6e-8)));
}

/** Fusion blocks by decoder layer and place, for features of one width; every second norm has no bias. */
function fusionBlocks(places: readonly string[], width: number): RandomModules {
  const modules = new RandomModules();
  places.forEach((place, i) => {
    modules.norm(`${FUSION}.${place}.geo_ln`, width, i % 2 === 0);
    modules.linear(`${FUSION}.${place}.geo_mlp.0`, INNER, 4 * width);
    modules.linear(`${FUSION}.${place}.geo_mlp.2`, TEXT, INNER);
  });
  return modules;
}

/** What a block makes of features in merge-window order, on the CPU. */
function projected(feature: Float32Array, { values }: RandomModules, place: string, width: number): Float32Array {
  const normed = geoNorm(feature, values, `${FUSION}.${place}.geo_ln`);
  return mlp(normed, 4 * width, values, `${FUSION}.${place}.geo_mlp.0`, `${FUSION}.${place}.geo_mlp.2`);
}

describe('geometry added after decoder layers', () => {
  it.each([
    { title: 'twice after one layer', encoder: [1, 2, 3], decoder: [0, 0, 1], blocks: ['0.0', '0.1', '1.0'] },
    { title: 'out of order, counted from the end', encoder: [-1, 0], decoder: [5, 0], blocks: ['5.0', '0.0'] },
    {
      title: 'one layer twice, through one block',
      encoder: [2, 2, 3],
      decoder: [4, 4, 7],
      blocks: ['4.0', '4.0', '7.0'],
    },
  ])('$title', async ({ encoder, decoder, blocks }) => {
    const modules = fusionBlocks([...new Set(blocks)], GEOMETRY);
    const path = await variant(modules, { geometry_encoder_layers: encoder, geometry_fusion_layers: decoder });
    await withVariant(path, async (model, input) => {
      const actual = await prefilled(model, input);
      const added = new Map<number, Float32Array>();
      decoder.forEach((layer, i) => {
        const output = actual.get(`aggregated.${(encoder[i]! + 4) % 4}`)!;
        const values = projected(windowOrder(output, gridOf(input)), modules, blocks[i]!, GEOMETRY);
        added.set(layer, added.has(layer) ? sum(added.get(layer)!, values) : values);
      });
      const rows = actual.get('vision.merged')!;
      expectSame(actual, await composed(model.qwen, input, rows, added));
      const plain = await composed(model.qwen, input, rows);
      expect(relativeL2(actual.get('result')!, plain.get('result')!)).toBeGreaterThan(0.05);
    });
  });
});

describe('hidden states of the vision tower added after decoder layers', () => {
  const settings = { use_geometry_encoder: false, vision_language_fusion_layers: [1, -1, 3, 2] };

  it('take the place of geometry', async () => {
    const places = ['0.0', '0.1', '2.0', '6.0'];
    const modules = fusionBlocks(places, VISION);
    const path = await variant(modules, { ...settings, geometry_fusion_layers: [0, 0, 2, 6] });
    await withVariant(path, async (model, input) => {
      expect(model.vggt).toBeUndefined();
      const { geometry: _, ...withoutGeometry } = input;
      const actual = await prefilled(model, withoutGeometry);
      // State n is the output of block n - 1; the tower has three blocks and its patches are in merge-window order.
      const values = [0, 2, 2, 1].map((block, i) =>
        projected(actual.get(`vision.block.${block}`)!, modules, places[i]!, VISION),
      );
      const added = new Map([
        [0, sum(values[0]!, values[1]!)],
        [2, values[2]!],
        [6, values[3]!],
      ]);
      const rows = actual.get('vision.merged')!;
      expectSame(actual, await composed(model.qwen, input, rows, added));
    });
  });

  it('may be the input of the first block', async () => {
    const modules = fusionBlocks(['1.0'], VISION);
    const change = { ...settings, vision_language_fusion_layers: [0], geometry_fusion_layers: [1] };
    await withVariant(await variant(modules, change), async (model, input) => {
      const actual = await prefilled(model, input);
      const [merged, state] = model.qwen.see(input.images!, { hiddenStates: [0] });
      const rows = await device().readFloat32(merged!);
      const feature = await device().readFloat32(state!);
      for (const tensor of [merged!, state!]) device().dispose(tensor);
      const positions = sum(
        feature,
        actual.get('vision.patch_embed')!.map((value) => -value),
      );
      expect(positions.some((value) => Math.abs(value) > 1e-3)).toBe(true);
      const added = new Map([[1, projected(feature, modules, '1.0', VISION)]]);
      expectSame(actual, await composed(model.qwen, input, rows, added));
    });
  });

  it('are refused where the blocks are made for geometry', async () => {
    const path = await variant(fusionBlocks(['0.0'], GEOMETRY), {
      ...settings,
      vision_language_fusion_layers: [1],
      geometry_fusion_layers: [0],
    });
    const refused = loadLanguageModel(device(), path, { dtype: 'float32' });
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(/geo_ln\.weight has shape \[96\]; \[64\] was expected, .* vision tower/);
  });
});

const METHODS = ['add', 'concat', 'gated', 'weighted', 'cross_attention'] as const;
type Method = (typeof METHODS)[number];
const MERGERS = ['mlp', 'avg'] as const;
type MergerType = (typeof MERGERS)[number];

/** Weights of a post-merger fusion (spec spatialstack.md section 4). */
function postMergerModules(root: string, method: Method, type: MergerType, mergers: readonly string[]): RandomModules {
  const modules = new RandomModules();
  for (const merger of mergers) {
    if (type === 'mlp') modules.norm(`${root}${merger}.ln_q`, GEOMETRY);
    modules.linear(`${root}${merger}.mlp.0`, INNER, type === 'mlp' ? 4 * GEOMETRY : GEOMETRY);
    modules.linear(`${root}${merger}.mlp.2`, TEXT, INNER);
  }
  const fusion = `${root}feature_fusion`;
  if (method === 'concat' || method === 'gated') {
    modules.norm(`${fusion}.norm1`, TEXT);
    modules.norm(`${fusion}.norm2`, TEXT);
    modules.linear(`${fusion}.${method === 'gated' ? 'gate_projection.0' : 'projection'}`, TEXT, 2 * TEXT);
  }
  if (method === 'weighted') {
    modules.add(`${fusion}.weight_2d`, [], 0, 0.75);
    modules.add(`${fusion}.weight_3d`, [], 0, 0.5);
  }
  for (const k of method === 'cross_attention' ? [0, 1] : []) {
    const block = `${fusion}.cross_attn_blocks.${k}`;
    for (const norm of ['norm1_query', 'norm1_key', 'norm1_value', 'norm2']) modules.norm(`${block}.${norm}`, TEXT);
    modules.add(`${block}.cross_attention.in_proj_weight`, [3 * TEXT, TEXT], 1 / Math.sqrt(TEXT));
    modules.add(`${block}.cross_attention.in_proj_bias`, [3 * TEXT], 0.1);
    modules.linear(`${block}.cross_attention.out_proj`, TEXT, TEXT);
    modules.linear(`${block}.mlp.0`, 4 * TEXT, TEXT);
    modules.linear(`${block}.mlp.3`, TEXT, 4 * TEXT);
  }
  return modules;
}

/** Merged geometry of one encoder layer on the CPU: rows of the language model, window by window. */
function merged(output: Float32Array, grid: PatchGrid, type: MergerType, modules: RandomModules, name: string) {
  const windows = windowOrder(output, grid);
  const layers = [`${name}.mlp.0`, `${name}.mlp.2`] as const;
  if (type === 'mlp') {
    return mlp(geoNorm(windows, modules.values, `${name}.ln_q`), 4 * GEOMETRY, modules.values, ...layers);
  }
  const mean = Float32Array.from({ length: windows.length / 4 }, (_, i) => {
    const first = Math.floor(i / GEOMETRY) * 4 * GEOMETRY + (i % GEOMETRY);
    return [0, 1, 2, 3].reduce((total, token) => total + windows[first + token * GEOMETRY]! / 4, 0);
  });
  return mlp(mean, GEOMETRY, modules.values, ...layers);
}

describe.each(METHODS.flatMap((method) => MERGERS.map((type) => ({ method, type }))))(
  'geometry in the vision rows: $method with merger $type',
  ({ method, type }) => {
    const encoderLayers = [1, -1];
    const settings: Json = {
      feature_fusion_method: method,
      geometry_merger_type: type,
      fusion_attention_heads: 4,
      fusion_num_layers: 2,
      geometry_fusion_layers: undefined,
    };
    let results: Map<string, Float32Array>;
    let modules: RandomModules;
    let path: string;
    beforeAll(async () => {
      const mergers = encoderLayers.map((_, k) => `geometry_merger_list.${k}`);
      modules = postMergerModules('model.', method, type, mergers);
      path = await variant(modules, { ...settings, geometry_encoder_layers: encoderLayers });
    });
    afterAll(() => results?.clear());

    /** The modules composed by hand, from what the encoders gave. */
    async function expectComposition(
      model: SpatialStack,
      input: ModelInput,
      mergers: readonly { layer: number; name: string }[],
    ): Promise<Map<string, Float32Array>> {
      const actual = await prefilled(model, input);
      const grid = gridOf(input);
      const shape = [grid.pictures, grid.rows / 2, grid.columns / 2, TEXT];
      let rows = actual.get('vision.merged')!;
      for (const { layer, name } of mergers) {
        const geometry = merged(actual.get(`aggregated.${layer}`)!, grid, type, modules, name);
        const [a, b] = [rows, geometry].map((values) => device().upload(values, shape, 'f32'));
        const fused = model.postMerger!.fusion.forward(a!, b!);
        rows = await device().readFloat32(fused);
        for (const tensor of [a!, b!, fused]) device().dispose(tensor);
      }
      const expected = await composed(model.qwen, input, rows);
      expectSame(actual, expected, await composed(model.qwen, input, lastBitsMoved(rows)));
      const plain = await composed(model.qwen, input, actual.get('vision.merged')!);
      expect(relativeL2(actual.get('result')!, plain.get('result')!)).toBeGreaterThan(0.02);
      return actual;
    }

    it('fuses several layers in turn', async () => {
      await withVariant(path, async (model, input) => {
        results = await expectComposition(model, input, [
          { layer: 1, name: 'model.geometry_merger_list.0' },
          { layer: 3, name: 'model.geometry_merger_list.1' },
        ]);
      });
    });

    it('stays within the error of 16-bit operands', async () => {
      await withVariant(
        path,
        async (model, input) => {
          const found = (await prefilled(model, input)).get('result')!;
          expect(relativeL2(found, results.get('result')!)).toBeLessThan(2e-2);
        },
        'bfloat16',
      );
    });

    it('fuses the last but one layer by default, with modules at top level', async () => {
      modules = postMergerModules('', method, type, ['geometry_merger']);
      const single = await variant(modules, { ...settings, geometry_encoder_layers: undefined });
      await withVariant(single, async (model, input) => {
        await expectComposition(model, input, [{ layer: 2, name: 'geometry_merger' }]);
      });
    });
  },
);

it('looks once at pictures that several prompts show', async () => {
  const loaded = await loadLanguageModel(device(), ORIGINAL, { dtype: 'float32' });
  const input = await promptOf(loaded, join(ORIGINAL, 'reference/images'));
  const own = (await prefilled(loaded.model, input)).get('result')!;
  const sight = await loaded.model.look(input);
  for (const _ of ['first', 'second']) {
    const seen = await prefilled(loaded.model, { ...input, sight });
    expect(seen.has('vision.merged')).toBe(false);
    expect(seen.get('result')).toEqual(own);
  }
  forget(sight);
  await loaded.close();
});

describe('pictures of several sizes', () => {
  /** A prompt with flat pictures of these sizes, as the evaluation prepares it. */
  async function promptWith(loaded: LoadedModel, sizes: readonly (readonly [number, number])[]): Promise<ModelInput> {
    const images = sizes.map(([width, height]) => ({
      width,
      height,
      data: new Uint8Array(width * height * 3).fill(9),
    }));
    const options = { images, prompt: 'Where?', addFrameIndex: false, geometryPreprocessing: 'raw' } as const;
    return (await prepareInput(loaded, options)).input;
  }

  it('are refused, because the encoder sees them as one size', async () => {
    const loaded = await loadLanguageModel(device(), ORIGINAL, { dtype: 'float32' });
    const input = await promptWith(loaded, [
      [128, 64],
      [64, 128],
    ]);
    const refused = prefilled(loaded.model, input);
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(/pictures of one prompt must have one size/);
    await loaded.close();
  });

  it('are refused where hidden states of the vision tower are fused', async () => {
    const settings = { use_geometry_encoder: false, vision_language_fusion_layers: [1], geometry_fusion_layers: [0] };
    const path = await variant(fusionBlocks(['0.0'], VISION), settings);
    const loaded = await loadLanguageModel(device(), path, { dtype: 'float32' });
    const input = await promptWith(loaded, [
      [64, 64],
      [64, 96],
      [64, 128],
      [64, 128],
    ]);
    const refused = prefilled(loaded.model, input);
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(/pictures of one prompt must have one size/);
    await loaded.close();
  });
});

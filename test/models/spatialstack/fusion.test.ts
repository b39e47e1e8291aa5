import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { loadConfigJson } from '../../../src/io/json.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../../../src/io/safetensors_write.ts';
import { precisionOf } from '../../../src/models/precision.ts';
import { parseSpatialStackConfig, type SpatialStackConfig } from '../../../src/models/spatialstack/config.ts';
import { CrossAttentionBlock } from '../../../src/models/spatialstack/fusion/cross_attention_block.ts';
import { GeometryFeatureMerger } from '../../../src/models/spatialstack/fusion/geometry_merger.ts';
import { gridPositions } from '../../../src/models/spatialstack/fusion/grid_positions.ts';
import { DeepstackLanguageAdd } from '../../../src/models/spatialstack/fusion/language_add.ts';
import { DeepstackLanguageCrossAttn } from '../../../src/models/spatialstack/fusion/language_cross_attn.ts';
import { LanguageFeatureFusion } from '../../../src/models/spatialstack/fusion/language_feature_fusion.ts';
import { type FeatureFusionOptions, featureFusion } from '../../../src/models/spatialstack/fusion/post_merger.ts';
import { sincos2d } from '../../../src/models/spatialstack/fusion/sincos.ts';
import { DeepstackVisionAdd } from '../../../src/models/spatialstack/fusion/vision_add.ts';
import { DeepstackVisionCrossAttn } from '../../../src/models/spatialstack/fusion/vision_cross_attn.ts';
import { toWindowOrder } from '../../../src/models/spatialstack/fusion/windows.ts';
import { Weights } from '../../../src/models/weights.ts';
import type { Tensor } from '../../../src/tensor/tensor.ts';
import { relativeL2 } from '../../compare.ts';
import { useDevice } from '../../device.ts';
import { Random } from '../../random.ts';

const REFERENCE = 'test/fixtures/spatialstack-tiny/reference/fusion_operators.safetensors';
/** With these the reference was made (the original's default is 8); its keys and queries have positions on a grid of 3 x 2. */
const HEADS = 4;
const GRID = { rows: 3, columns: 2 };
const BLOCK = 'fusion_layers.0.0';
const ADD = 'deepstack_language_add';
const ADD_LAYERNORM = 'deepstack_language_add_layernorm';
const device = useDevice();

let reference: Checkpoint;
beforeAll(async () => {
  reference = await Checkpoint.open(REFERENCE);
});
afterAll(() => reference.close());

/** A tensor of the reference on the GPU. */
async function given(name: string): Promise<Tensor> {
  return device().upload(await reference.readFloat32(name), reference.entry(name).shape, 'f32');
}

/** A method's weights, its module built and loaded. */
async function built<T>(method: string, build: (weights: Weights) => T): Promise<T> {
  const weights = new Weights(device(), reference);
  const module = build(weights.at(`${method}.weights`));
  await weights.load();
  return module;
}

describe.each([
  { dtype: 'float32', tolerance: 1e-5 },
  { dtype: 'bfloat16', tolerance: 2e-2 },
] as const)('the original operators in $dtype', ({ dtype, tolerance }) => {
  const precision = precisionOf(dtype);

  async function expectReference(actual: Tensor, name: string): Promise<void> {
    expect(actual.shape).toEqual(reference.entry(name).shape);
    const error = relativeL2(await device().readFloat32(actual), await reference.readFloat32(name));
    expect(error).toBeLessThan(tolerance);
  }

  it.each(['add', 'concat', 'gated', 'weighted'] as const)('%s', async (method) => {
    const options: FeatureFusionOptions = { method, width: 32, fusion_attention_heads: HEADS, fusion_num_layers: 1 };
    const module = await built(method, (weights) => featureFusion(weights, options, precision));
    const out = module.forward(await given(`${method}.in2d`), await given(`${method}.in3d`));
    await expectReference(out, `${method}.out`);
  });

  it.each([ADD, ADD_LAYERNORM])('%s', async (method) => {
    const module = await built(method, (weights) => new DeepstackLanguageAdd(weights.at(BLOCK), precision));
    await expectReference(
      module.forward(await given(`${method}.in2d`), await given(`${method}.in3d`)),
      `${method}.out`,
    );
  });

  it.each(['', '_camera'])('deepstack_language_cross_attn%s', async (suffix) => {
    const method = 'deepstack_language_cross_attn';
    const module = await built(
      method,
      (weights) => new DeepstackLanguageCrossAttn(weights.at(BLOCK), HEADS, precision),
    );
    const image = await given(`${method}.in2d`);
    const out = module.forward(image, await given(`${method}${suffix}.in3d`), GRID);
    await expectReference(out, `${method}${suffix}.out`);
  });

  it('deepstack_vision_add', async () => {
    const method = 'deepstack_vision_add';
    const module = await built(method, (weights) => new DeepstackVisionAdd(weights.at(BLOCK), precision));
    await expectReference(
      module.forward(await given(`${method}.in2d`), await given(`${method}.in3d`)),
      `${method}.out`,
    );
  });

  it('deepstack_vision_cross_attn', async () => {
    const method = 'deepstack_vision_cross_attn';
    const module = await built(method, (weights) => new DeepstackVisionCrossAttn(weights.at(BLOCK), HEADS, precision));
    const positions = gridPositions(device(), GRID, { pictures: 2, camera: false, width: 32 });
    const out = module.forward(await given(`${method}.in2d`), await given(`${method}.in3d`), positions);
    await expectReference(out, `${method}.out`);
  });

  it.each(['mlp', 'avg'] as const)('geometry merger %s', async (type) => {
    const options = { type, mergeSize: 2, geoWidth: 24, width: 32 };
    const module = await built(`merger_${type}`, (weights) => new GeometryFeatureMerger(weights, options, precision));
    await expectReference(module.forward(await given(`merger_${type}.in`)), `merger_${type}.out`);
  });
});

it('sincos2d', async () => {
  const [rows, columns, width] = reference.entry('sincos2d').shape as [number, number, number];
  expect(relativeL2(sincos2d(rows, columns, width), await reference.readFloat32('sincos2d'))).toBeLessThan(1e-5);
  expect(() => sincos2d(2, 2, 30)).toThrow(InputError);
});

it('toWindowOrder agrees with a plain loop and drops a last odd row and column', async () => {
  const width = 3;
  for (const [pictures, hp, wp, m] of [
    [2, 5, 7, 2],
    [1, 4, 2, 2],
    [2, 7, 6, 3],
  ] as const) {
    const values = new Random(hp).normal(pictures * hp * wp * width);
    const expected: number[] = [];
    for (let s = 0; s < pictures; s++) {
      for (let i = 0; i + m <= hp; i += m) {
        for (let j = 0; j + m <= wp; j += m) {
          for (let r = i; r < i + m; r++) {
            for (let c = j; c < j + m; c++) {
              const start = ((s * hp + r) * wp + c) * width;
              expected.push(...values.subarray(start, start + width));
            }
          }
        }
      }
    }
    const out = toWindowOrder(device().upload(values, [pictures, hp * wp, width], 'f32'), hp, wp, m);
    expect(out.shape).toEqual([pictures, expected.length / pictures / width, width]);
    expect([...(await device().readFloat32(out))]).toEqual(expected);
  }
});

describe('method cross_attention', () => {
  it('applies its blocks one after the other inside each picture', async () => {
    // The block's own arithmetic is compared with the original above, in the two deepstack methods that contain one.
    const precision = precisionOf('float32');
    const prefix = `deepstack_vision_cross_attn.weights.${BLOCK}.cross_attn.`;
    const tensors = new Map<string, TensorToWrite>();
    for (const k of [0, 1]) await copyTensors(tensors, prefix, `cross_attn_blocks.${k}.`);
    await withCheckpoint(tensors, async (checkpoint) => {
      const weights = new Weights(device(), checkpoint);
      const options = {
        method: 'cross_attention',
        width: 32,
        fusion_attention_heads: HEADS,
        fusion_num_layers: 2,
      } as const;
      const module = featureFusion(weights, options, precision);
      const block = new CrossAttentionBlock(weights.at('cross_attn_blocks.0'), { width: 32, heads: HEADS }, precision);
      await weights.load();
      const [a, b] = [await given('add.in2d'), await given('add.in3d')];
      const out = module.forward(a, b);
      expect(out.shape).toEqual(a.shape);
      const values = await device().readFloat32(out);
      // Each picture by itself, with the same keys for both blocks.
      for (const picture of [0, 1]) {
        const x = device().tensor([1, 6, 32]);
        const y = device().tensor([1, 6, 32]);
        device().copy(a, picture * 192, x, 0, 192);
        device().copy(b, picture * 192, y, 0, 192);
        const expected = await device().readFloat32(block.forward(block.forward(x, y), y));
        expect(relativeL2(values.subarray(picture * 192, (picture + 1) * 192), expected)).toBeLessThan(1e-6);
      }
    });
  });

  it('refuses a width that its heads do not divide', () => {
    const weights = new Weights(device(), reference).at(`deepstack_vision_cross_attn.weights.${BLOCK}.cross_attn`);
    expect(() => new CrossAttentionBlock(weights, { width: 32, heads: 5 }, precisionOf('float32'))).toThrow(InputError);
  });
});

/** Copies tensors of the reference under other names. */
async function copyTensors(target: Map<string, TensorToWrite>, prefix: string, newPrefix: string): Promise<void> {
  for (const [name, { dtype, shape }] of reference.entries) {
    if (!name.startsWith(prefix)) continue;
    target.set(newPrefix + name.slice(prefix.length), { dtype, shape, data: await reference.readBytes(name) });
  }
}

async function withCheckpoint(
  tensors: ReadonlyMap<string, TensorToWrite>,
  use: (checkpoint: Checkpoint) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'fusion-'));
  try {
    await writeSafetensors(join(folder, 'model.safetensors'), tensors);
    const checkpoint = await Checkpoint.open(folder);
    await use(checkpoint).finally(() => checkpoint.close());
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('LanguageFeatureFusion', () => {
  const tokens = 20;
  const width = 32;
  /** Image tokens of the reference's 12 rows, between and around text. */
  const imageRows = Int32Array.from([2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16]);

  /** A configuration for the reference's widths; each change is to what fuses. */
  async function configured(changes: Partial<SpatialStackConfig> = {}): Promise<SpatialStackConfig> {
    const config = parseSpatialStackConfig(await loadConfigJson('test/fixtures/spatialstack-tiny'), 'config.json')!;
    config.qwen.text.hidden_size = width;
    config.geometry_encoder_config.embed_dim = 12;
    return Object.assign(config, changes);
  }

  /** Blocks of the reference under the checkpoint names given. */
  async function fusionTensors(blocks: Record<string, string>): Promise<Map<string, TensorToWrite>> {
    const tensors = new Map<string, TensorToWrite>();
    for (const [name, method] of Object.entries(blocks)) {
      await copyTensors(tensors, `${method}.weights.${BLOCK}.`, `${name}.`);
    }
    return tensors;
  }

  /** What the original adds to the image tokens for the reference's feature. */
  async function addition(method: string): Promise<Float32Array> {
    const before = await reference.readFloat32(`${method}.in2d`);
    return (await reference.readFloat32(`${method}.out`)).map((value, i) => value - before[i]!);
  }

  /** Fuses the features of `methods` into random hidden states and compares the image rows with the originals' sums. */
  async function expectSums(
    layer: number,
    methods: readonly string[],
    config: SpatialStackConfig,
    checkpoint: Checkpoint,
  ) {
    const weights = new Weights(device(), checkpoint);
    const fusion = new LanguageFeatureFusion(weights, config, precisionOf('float32'));
    await weights.load();
    const hidden = new Random(5).normal(tokens * width);
    const features: Tensor[] = [];
    const expected = Float32Array.from(hidden);
    for (const method of methods) {
      features.push(await given(`${method}.in3d`));
      const added = await addition(method);
      imageRows.forEach((row, i) => {
        for (let c = 0; c < width; c++) expected[row * width + c]! += added[i * width + c]!;
      });
    }
    const h = device().upload(hidden, [tokens, width], 'f32');
    const out = fusion.forward(layer, h, features, device().upload(imageRows, [imageRows.length], 'i32'));
    expect(out.shape).toEqual([tokens, width]);
    const values = await device().readFloat32(out);
    expect(relativeL2(values, expected)).toBeLessThan(1e-5);
    for (let row = 0; row < tokens; row++) {
      if (imageRows.includes(row)) continue;
      expect(values.slice(row * width, (row + 1) * width)).toEqual(hidden.slice(row * width, (row + 1) * width));
    }
    weights.destroy();
    return fusion;
  }

  it.each(['model.language_feature_fusion', 'language_feature_fusion'])(
    'adds to the image rows only: %s',
    async (root) => {
      const tensors = await fusionTensors({
        [`${root}.fusion_layers.0.0`]: ADD,
        [`${root}.fusion_layers.2.0`]: ADD_LAYERNORM,
      });
      await withCheckpoint(tensors, async (checkpoint) => {
        const config = await configured({ geometry_fusion_layers: [0, 2] });
        const fusion = await expectSums(0, [ADD], config, checkpoint);
        await expectSums(2, [ADD_LAYERNORM], config, checkpoint);
        expect([0, 1, 2, 3].map((layer) => fusion.has(layer))).toEqual([true, false, true, false]);
      });
    },
  );

  it.each(['test/fixtures/spatialstack-tiny', 'nano'])('takes the widths of %s from its weights', async (folder) => {
    const checkpoint = await Checkpoint.open(folder);
    const config = parseSpatialStackConfig(await loadConfigJson(folder), folder)!;
    const weights = new Weights(device(), checkpoint);
    const fusion = new LanguageFeatureFusion(weights, config, precisionOf('bfloat16'));
    expect([...fusion.fusion_layers.keys()]).toEqual(config.geometry_fusion_layers);
    weights.destroy();
    await checkpoint.close();
  });

  it('prefers the tensors under model.', async () => {
    const tensors = await fusionTensors({
      'model.language_feature_fusion.fusion_layers.1.0': ADD,
      'language_feature_fusion.fusion_layers.1.0': ADD_LAYERNORM,
    });
    await withCheckpoint(tensors, async (checkpoint) => {
      await expectSums(1, [ADD], await configured({ geometry_fusion_layers: [1] }), checkpoint);
    });
  });

  it('adds several features of a layer, each through its own block', async () => {
    const root = 'model.language_feature_fusion.fusion_layers.1';
    await withCheckpoint(
      await fusionTensors({ [`${root}.0`]: ADD, [`${root}.1`]: ADD_LAYERNORM }),
      async (checkpoint) => {
        await expectSums(1, [ADD, ADD_LAYERNORM], await configured({ geometry_fusion_layers: [1, 1] }), checkpoint);
      },
    );
  });

  it('uses a single block again for several features', async () => {
    const root = 'model.language_feature_fusion.fusion_layers.1';
    await withCheckpoint(await fusionTensors({ [`${root}.0`]: ADD }), async (checkpoint) => {
      await expectSums(1, [ADD, ADD], await configured({ geometry_fusion_layers: [1, 1] }), checkpoint);
    });
  });

  it('refuses widths that are not those of what is fused, and missing tensors', async () => {
    const root = 'model.language_feature_fusion.fusion_layers';
    await withCheckpoint(await fusionTensors({ [`${root}.0.0`]: ADD }), async (checkpoint) => {
      const refusal = async (change: (config: SpatialStackConfig) => void) => {
        const config = await configured({ geometry_fusion_layers: [0] });
        change(config);
        const make = () => new LanguageFeatureFusion(new Weights(device(), checkpoint), config, precisionOf('float32'));
        expect(make).toThrow(InputError);
        return expect(make);
      };
      (await refusal((config) => (config.geometry_encoder_config.embed_dim = 1024))).toThrow(
        /geo_ln\.weight has shape \[24\]; \[2048\] was expected, the width of the features of the geometry encoder/,
      );
      (await refusal((config) => (config.vision_language_fusion_layers = [-1]))).toThrow(
        /\[64\] was expected.*vision tower/,
      );
      (await refusal((config) => (config.qwen.text.hidden_size = 48))).toThrow(/to 32 values; 4 tokens to 48 values/);
      (await refusal((config) => (config.geometry_fusion_layers = [3]))).toThrow(/fusion_layers\.3\.0\.geo_ln\.weight/);
    });
  });

  it('refuses features of other pictures than those of the image tokens', async () => {
    const tensors = await fusionTensors({ 'language_feature_fusion.fusion_layers.0.0': ADD });
    await withCheckpoint(tensors, async (checkpoint) => {
      const config = await configured({ geometry_fusion_layers: [0] });
      const fusion = new LanguageFeatureFusion(new Weights(device(), checkpoint), config, precisionOf('float32'));
      const rows = device().upload(imageRows.slice(0, 6), [6], 'i32');
      const feature = await given(`${ADD}.in3d`);
      expect(() => fusion.forward(0, device().tensor([tokens, width]), [feature], rows)).toThrow(
        /6 image tokens.*of 12/,
      );
    });
  });
});

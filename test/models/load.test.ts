import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { type LoadedModel, type LoadOptions, loadLanguageModel } from '../../src/models/load.ts';
import { replayLanguageModel } from '../../src/models/qwen3_5/replay.ts';
import { TOLERANCES } from '../../src/models/reference.ts';
import { useDevice } from '../device.ts';
import { CheckpointFolder, type Json, type Tensors } from './checkpoints.ts';

const QWEN = 'test/fixtures/qwen3_5-tiny';
const UNTIED = 'test/fixtures/qwen3_5-headdim';
const SPATIAL = 'test/fixtures/spatialstack-tiny';
const ENCODER = 'model.geometry_encoder.vggt.';
const FUSION = 'model.language_feature_fusion.';
const EMBEDDING = 'model.language_model.embed_tokens.weight';

const device = useDevice();
const scratch = new CheckpointFolder();

/** Loads a checkpoint in float32 for `use`. */
async function withModel(path: string, use: (loaded: LoadedModel) => Promise<void>, options?: Partial<LoadOptions>) {
  const loaded = await loadLanguageModel(device(), path, { dtype: 'float32', ...options });
  try {
    await use(loaded);
  } finally {
    await loaded.close();
  }
}

/** Rows of a reference that the checkpoint does not reproduce. */
async function failures(path: string, reference: string, options?: Partial<LoadOptions>): Promise<string[]> {
  const failed: string[] = [];
  await withModel(
    path,
    async ({ model }) => {
      const file = await Checkpoint.open(`${reference}.safetensors`);
      const { rows } = await replayLanguageModel(model, file, TOLERANCES.float32);
      await file.close();
      failed.push(...rows.filter(({ verdict }) => verdict !== 'ok').map(({ name }) => name));
    },
    options,
  );
  return failed;
}

async function expectRefused(path: string, sentence: string | RegExp, options?: Partial<LoadOptions>): Promise<void> {
  const before = device().memory.allocated;
  const refused = loadLanguageModel(device(), path, { dtype: 'float32', ...options });
  await expect(refused).rejects.toThrow(InputError);
  await expect(refused).rejects.toThrow(sentence);
  expect(device().memory.allocated).toBe(before);
}

/** The tensors under new names; those for which `rename` gives nothing are left out. */
function renamed(tensors: Tensors, rename: (name: string) => string | undefined): Tensors {
  const result: Tensors = new Map();
  for (const [name, value] of tensors) {
    const to = rename(name);
    if (to !== undefined) result.set(to, value);
  }
  return result;
}

/** The same with every byte of the tensors under a prefix zero. */
function zeroed(tensors: Tensors, prefix: string): Tensors {
  const blank = (name: string) => name.startsWith(prefix);
  return new Map(
    [...tensors].map(([name, entry]) => [
      name,
      blank(name) ? { ...entry, data: new Uint8Array(entry.data.length) } : entry,
    ]),
  );
}

describe('the head', () => {
  const text = join(QWEN, 'reference/text');

  it('is the embedding where it is tied', async () => {
    await withModel(QWEN, async ({ model }) => expect(model.text.lm_head).toBe(model.text.embed_tokens));
  });

  it('is its own matrix where it is not', async () => {
    await withModel(UNTIED, async ({ model }) => expect(model.text.lm_head).not.toBe(model.text.embed_tokens));
  });

  it('may be stored beside a tied embedding', async () => {
    const path = await scratch.variant(QWEN, (tensors, config) => ({
      tensors: new Map([...tensors, ['lm_head.weight', tensors.get(EMBEDDING)!]]),
      config,
    }));
    expect(await failures(path, text)).toEqual([]);
  });

  it('must be in the file where it is untied', async () => {
    const path = await scratch.variant(UNTIED, (tensors, config) => ({
      tensors: renamed(tensors, (name) => (name === 'lm_head.weight' ? undefined : name)),
      config,
    }));
    await expectRefused(path, /expected a tensor named "lm_head\.weight", found none/);
  });
});

describe('a text-only export', () => {
  it('has its tensors under model. and its sizes at top level', async () => {
    const path = await scratch.variant(QWEN, (tensors, config) => ({
      tensors: renamed(tensors, (name) =>
        name.startsWith('model.language_model.') ? name.replace('language_model.', '') : undefined,
      ),
      config: { ...(config.text_config as Json), model_type: 'qwen3_5_text', tie_word_embeddings: true },
    }));
    for (const name of ['text', 'text_long']) {
      expect(await failures(path, join(QWEN, 'reference', name))).toEqual([]);
    }
    await withModel(path, async ({ kind, model }) => {
      expect([kind, model.config.vision, model.config.image_token_id]).toEqual(['qwen3_5', undefined, -1]);
    });
  });
});

describe('the geometry modules', () => {
  const image = join(SPATIAL, 'reference/image');
  const topLevel = (name: string) =>
    name.startsWith(ENCODER) || name.startsWith(FUSION) ? name.replace('model.', '') : name;

  it('may lie at top level', async () => {
    const path = await scratch.variant(SPATIAL, (tensors, config) => ({ tensors: renamed(tensors, topLevel), config }));
    expect(await failures(path, image)).toEqual([]);
  });

  it('are those under model. where the file has both', async () => {
    const path = await scratch.variant(SPATIAL, (tensors, config) => {
      const others = zeroed(zeroed(renamed(tensors, topLevel), 'geometry_encoder.'), 'language_feature_fusion.');
      return { tensors: new Map([...others, ...tensors]), config };
    });
    expect(await failures(path, image)).toEqual([]);
  });

  it('matter: other weights give other answers', async () => {
    for (const prefix of [ENCODER, FUSION]) {
      const path = await scratch.variant(SPATIAL, (tensors, config) => ({ tensors: zeroed(tensors, prefix), config }));
      expect(await failures(path, image)).toContain('layer.0.hidden');
    }
  });

  it('are refused where one is missing or of another shape', async () => {
    const norm = `${FUSION}fusion_layers.1.0.geo_ln.weight`;
    const without = await scratch.variant(SPATIAL, (tensors, config) => ({
      tensors: renamed(tensors, (name) => (name === norm ? undefined : name)),
      config,
    }));
    await expectRefused(without, `expected a tensor named "${norm}", found none`);
    const wide = await scratch.variant(SPATIAL, (tensors, config) => {
      const geometry = { ...(config.geometry_encoder_config as Json), embed_dim: 32 };
      return { tensors, config: { ...config, geometry_encoder_config: geometry } };
    });
    await expectRefused(wide, /geometry_encoder\.vggt\.aggregator\..* has shape \[.*\]; \[.*\] was expected/);
  });
});

describe('a geometry encoder of its own', () => {
  const image = join(SPATIAL, 'reference/image');
  const withoutEncoder = (config: Json = {}) =>
    scratch.variant(SPATIAL, (tensors, original) => ({
      tensors: renamed(tensors, (name) => (name.startsWith(ENCODER) ? undefined : name)),
      config: { ...original, ...config },
    }));

  /** The encoder as a VGGT checkpoint. */
  async function encoderFolder(): Promise<string> {
    const config = JSON.parse(await readFile(join(SPATIAL, 'config.json'), 'utf8')) as Json;
    return scratch.variant(SPATIAL, (tensors) => ({
      tensors: renamed(tensors, (name) => (name.startsWith(ENCODER) ? name.slice(ENCODER.length) : undefined)),
      config: config.geometry_encoder_config as Json,
    }));
  }

  it('is read from the path given, or from the one in the configuration', async () => {
    const encoder = await encoderFolder();
    expect(await failures(await withoutEncoder(), image, { geometryEncoderPath: encoder })).toEqual([]);
    expect(await failures(await withoutEncoder({ geometry_encoder_path: encoder }), image)).toEqual([]);
    const misled = await withoutEncoder({ geometry_encoder_path: '/nowhere' });
    expect(await failures(misled, image, { geometryEncoderPath: join(encoder, 'model.safetensors') })).toEqual([]);
  });

  it('counts in the progress of loading', async () => {
    const encoder = await encoderFolder();
    const totals = new Set<number>();
    let last = 0;
    const onProgress = (loaded: number, total: number) => {
      expect(loaded).toBeGreaterThan(last);
      last = loaded;
      totals.add(total);
    };
    await withModel(await withoutEncoder(), async () => {}, { geometryEncoderPath: encoder, onProgress });
    expect([...totals]).toEqual([last]);
  });

  it('is not needed where the checkpoint has one', async () => {
    expect(await failures(SPATIAL, image, { geometryEncoderPath: '/nowhere' })).toEqual([]);
  });

  it('is missed, not found, or no VGGT', async () => {
    const path = await withoutEncoder();
    await expectRefused(path, /holds no geometry encoder .*; give one with --geometry-encoder-path/);
    await expectRefused(path, '/nowhere', { geometryEncoderPath: '/nowhere' });
    await expectRefused(path, /expected a tensor named "aggregator\./, { geometryEncoderPath: QWEN });
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { loadConfigJson } from '../../../src/io/json.ts';
import { parseVggtConfig } from '../../../src/models/vggt/config.ts';

const RELEASED = {
  img_size: 518,
  patch_size: 14,
  embed_dim: 1024,
  depth: 24,
  num_heads: 16,
  mlp_ratio: 4,
  num_register_tokens: 4,
  rope_freq: 100,
  patch_embed: { depth: 24, num_heads: 16, num_register_tokens: 4 },
  camera_head: { trunk_depth: 4, num_heads: 16 },
  dpt: { features: 256, out_channels: [256, 512, 1024, 1024], intermediate_layer_idx: [4, 11, 17, 23] },
  track_head: {
    features: 128,
    hidden_size: 384,
    corr_levels: 7,
    corr_radius: 4,
    stride: 2,
    iters: 4,
    depth: 6,
    num_heads: 8,
  },
};

const tiny = (await loadConfigJson('test/fixtures/vggt-tiny')) as Record<string, unknown>;
const parse = (changes: Record<string, unknown> = {}) => parseVggtConfig({ ...tiny, ...changes }, 'config.json');

describe('parseVggtConfig', () => {
  it('gives the released sizes without a file or for absent keys', () => {
    expect(parseVggtConfig(undefined, 'none')).toEqual(RELEASED);
    expect(parseVggtConfig({ img_size: 518, patch_size: 14, embed_dim: null, track_head: {} }, 'f')).toEqual(RELEASED);
  });

  it('reads the tiny fixture', () => {
    const { model_type, ...sizes } = tiny;
    expect(model_type).toBe('vggt');
    expect(parse()).toEqual(sizes);
  });

  it('does not hold default heads against an aggregator that stands alone', () => {
    const alone = { img_size: 70, embed_dim: 36, depth: 2, num_heads: 3, patch_embed: { depth: 1, num_heads: 3 } };
    expect(parseVggtConfig(alone, 'f')).toMatchObject({ depth: 2, dpt: RELEASED.dpt });
    expect(() => parseVggtConfig({ ...alone, model_type: 'vggt' }, 'f')).toThrow(InputError);
  });

  const refused: [string, unknown][] = [
    ['model_type', 'qwen3_5'],
    ['img_size', 71],
    ['embed_dim', 50],
    ['num_heads', 5],
    ['depth', 2.5],
    ['mlp_ratio', 0],
    ['mlp_ratio', 0.33],
    ['rope_freq', '100'],
    ['patch_embed', { depth: 2, num_heads: 5 }],
    ['camera_head', { trunk_depth: 1, num_heads: 5 }],
    ['dpt', { ...(tiny.dpt as object), intermediate_layer_idx: [0, 1, 2, 4] }],
    ['dpt', { ...(tiny.dpt as object), out_channels: [16, 16, 24] }],
    ['track_head', { ...(tiny.track_head as object), num_heads: 7 }],
    ['track_head', 3],
  ];
  it.each(refused)('refuses %s = %j', (key, value) => {
    expect(() => parse({ [key]: value })).toThrow(InputError);
  });

  it('answers arbitrary JSON with a config or an InputError', () => {
    const check = (attempt: () => ReturnType<typeof parse>) => {
      try {
        const config = attempt();
        expect(config.embed_dim % (4 * config.num_heads)).toBe(0);
        expect(config.dpt.out_channels.length).toBe(4);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
      }
    };
    const changes = fc.dictionary(fc.constantFrom(...Object.keys(tiny)), fc.oneof(fc.jsonValue(), fc.nat(64)), {
      maxKeys: 2,
    });
    fc.assert(fc.property(fc.jsonValue(), (json) => check(() => parseVggtConfig(json, 'f'))));
    fc.assert(
      fc.property(changes, (change) => check(() => parse(change))),
      { numRuns: 500 },
    );
  });
});

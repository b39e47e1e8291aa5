import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { loadConfigJson } from '../../../src/io/json.ts';
import { parseQwen35Config } from '../../../src/models/qwen3_5/config.ts';
import { parseSpatialStackConfig } from '../../../src/models/spatialstack/config.ts';

type Json = Record<string, unknown>;
const tiny = (await loadConfigJson('test/fixtures/spatialstack-tiny')) as Json;
const parse = (changes: Json = {}) => parseSpatialStackConfig({ ...tiny, ...changes }, 'config.json');

describe('parseSpatialStackConfig', () => {
  it('reads the tiny fixture', () => {
    const { qwen, geometry_encoder_config, ...rest } = parse() ?? {};
    expect(qwen).toEqual(parseQwen35Config(tiny, 'config.json'));
    expect(geometry_encoder_config).toMatchObject({ img_size: 70, embed_dim: 48, depth: 4, patch_embed: { depth: 2 } });
    expect(rest).toEqual({
      geometry_encoder_type: 'vggt',
      geometry_encoder_path: undefined,
      reference_frame: 'first',
      feature_fusion_method: 'deepstack_language_add',
      geometry_encoder_layers: [1, 2, 3],
      geometry_fusion_layers: [0, 1, 2],
      include_camera_token: false,
      fusion_num_layers: 1,
      geometry_merger_type: 'mlp',
      vision_language_fusion_layers: undefined,
      fusion_attention_heads: 8,
    });
  });

  it('reads the nano checkpoint', async () => {
    const config = parseSpatialStackConfig(await loadConfigJson('nano'), 'nano');
    expect(config?.geometry_encoder_config).toMatchObject({ img_size: 518, embed_dim: 96, depth: 4 });
  });

  it('has the defaults of the original', () => {
    const { model_type, text_config, vision_config, image_token_id, video_token_id } = tiny;
    const { vision_start_token_id, vision_end_token_id } = tiny;
    const layers = { geometry_encoder_layers: [11, 17, 23], geometry_fusion_layers: [0, 1, 2] };
    const qwen = { model_type, text_config, vision_config, image_token_id, video_token_id };
    const ids = { vision_start_token_id, vision_end_token_id };
    const config = parseSpatialStackConfig({ ...qwen, ...ids, ...layers, use_geometry_encoder: true }, 'f');
    expect(config).toMatchObject({
      geometry_encoder_type: 'vggt',
      reference_frame: 'first',
      feature_fusion_method: 'deepstack_language_add',
      include_camera_token: false,
      geometry_merger_type: 'mlp',
      geometry_encoder_config: { depth: 24, embed_dim: 1024 },
    });
  });

  it('is undefined for a plain Qwen3.5', async () => {
    expect(parse({ use_geometry_encoder: false })).toBeUndefined();
    expect(parse({ use_geometry_encoder: null, vision_language_fusion_layers: null })).toBeUndefined();
    expect(parse({ use_geometry_encoder: null, use_vggt_feature: true })).toBeDefined();
    const plain = await loadConfigJson('test/fixtures/qwen3_5-tiny');
    expect(parseSpatialStackConfig(plain, 'f')).toBeUndefined();
  });

  it('accepts negative encoder layers and a decoder layer listed twice', () => {
    const config = parse({ geometry_encoder_layers: [-4, -1], geometry_fusion_layers: [2, 2] });
    expect(config).toMatchObject({ geometry_encoder_layers: [-4, -1], geometry_fusion_layers: [2, 2] });
  });

  it.each(['add', 'concat', 'gated', 'weighted', 'cross_attention'])('accepts the post-merger method %s', (method) => {
    const config = parse({
      feature_fusion_method: method,
      geometry_encoder_layers: null,
      geometry_fusion_layers: null,
    });
    expect(config).toMatchObject({ geometry_encoder_layers: [-2], geometry_fusion_layers: [] });
    expect(parse({ feature_fusion_method: method })?.geometry_encoder_layers).toEqual([1, 2, 3]);
  });

  it('fuses vision features when they are named', () => {
    const change = { use_geometry_encoder: null, geometry_encoder_layers: null, geometry_fusion_layers: [0, 1] };
    const config = parse({ ...change, vision_language_fusion_layers: [-4, 3] });
    expect(config).toMatchObject({ vision_language_fusion_layers: [-4, 3], geometry_encoder_layers: [] });
    expect(() => parse({ ...change, vision_language_fusion_layers: [4, 1] })).toThrow(/from -4 to 3/);
    expect(() => parse({ ...change, vision_language_fusion_layers: [1] })).toThrow(/list of 1 decoder layers/);
  });

  const refused: [Json, RegExp][] = [
    [{ geometry_encoder_type: 'pi3' }, /geometry_encoder_type must be "vggt", found "pi3"/],
    [{ geometry_encoder_layers: null }, /geometry_encoder_layers must be a list of at least one layer, found nothing/],
    [{ geometry_encoder_layers: [] }, /at least one layer/],
    [{ geometry_fusion_layers: null }, /geometry_fusion_layers must be a list of 3 decoder layers/],
    [{ geometry_fusion_layers: [0, 1] }, /geometry_fusion_layers must be a list of 3 decoder layers/],
    [{ geometry_fusion_layers: [0, 1, 8] }, /from 0 to 7/],
    [{ geometry_fusion_layers: [0, 1, -1] }, /from 0 to 7/],
    [{ geometry_encoder_layers: [1, 2, 4] }, /from -4 to 3/],
    [{ geometry_encoder_layers: [1, 2, -5] }, /from -4 to 3/],
    [{ geometry_encoder_layers: 3 }, /geometry_encoder_layers/],
    [{ include_camera_token: true }, /include_camera_token must be false with .*"deepstack_language_add"/],
    [
      { feature_fusion_method: 'deepstack_vision_add' },
      /feature_fusion_method must be .* found "deepstack_vision_add"/,
    ],
    [{ feature_fusion_method: 'sum' }, /feature_fusion_method/],
    [
      { feature_fusion_method: 'add', vision_language_fusion_layers: [0] },
      /"deepstack_language_add" with vision_language/,
    ],
    [{ feature_fusion_method: 'cross_attention', fusion_attention_heads: 7 }, /divisor of the hidden size 96/],
    [{ geometry_merger_type: 'max' }, /geometry_merger_type must be "mlp" or "avg"/],
    [{ geometry_encoder_config: { depth: 0 } }, /geometry_encoder_config: depth/],
    [{ vision_config: null }, /vision_config/],
    [{ model_type: 'qwen3_5_moe' }, /model_type/],
  ];
  it.each(refused)('refuses %j', (changes, message) => {
    expect(() => parse(changes)).toThrow(InputError);
    expect(() => parse(changes)).toThrow(message);
  });

  it('answers arbitrary JSON with a config, undefined or an InputError', () => {
    const check = (attempt: () => ReturnType<typeof parse>) => {
      try {
        const config = attempt();
        if (config?.feature_fusion_method !== 'deepstack_language_add') return;
        const sources = config.vision_language_fusion_layers ?? config.geometry_encoder_layers;
        expect(sources.length).toBe(config.geometry_fusion_layers.length);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
      }
    };
    const keys = [...Object.keys(tiny), 'vision_language_fusion_layers', 'fusion_num_layers', 'use_vggt_feature'];
    const value = fc.oneof(fc.jsonValue(), fc.array(fc.integer({ min: -5, max: 9 }), { maxLength: 4 }));
    const changes = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 3 });
    fc.assert(fc.property(fc.jsonValue(), (json) => check(() => parseSpatialStackConfig(json, 'f'))));
    fc.assert(
      fc.property(changes, (change) => check(() => parse(change))),
      { numRuns: 500 },
    );
  });
});

import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { loadConfigJson, readJsonFile } from '../../../src/io/json.ts';
import { parseQwen35Config, rotaryDim } from '../../../src/models/qwen3_5/config.ts';

type Json = Record<string, unknown>;
const tinyJson = (await readJsonFile('test/fixtures/qwen3_5-tiny/config.json')) as {
  text_config: Json;
  vision_config: Json;
};

/** The tiny checkpoint's config with some keys replaced. */
function parse(top: Json = {}, text: Json = {}, vision: Json = {}) {
  const nested = {
    text_config: { ...tinyJson.text_config, ...text },
    vision_config: { ...tinyJson.vision_config, ...vision },
  };
  return parseQwen35Config({ ...tinyJson, ...nested, ...top }, 'config.json');
}

describe('parseQwen35Config', () => {
  it('reads the tiny fixture', () => {
    const config = parse();
    expect(config.text).toEqual({
      vocab_size: 768,
      hidden_size: 96,
      num_hidden_layers: 8,
      intermediate_size: 160,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 32,
      linear_num_key_heads: 2,
      linear_num_value_heads: 4,
      linear_key_head_dim: 16,
      linear_value_head_dim: 24,
      linear_conv_kernel_dim: 4,
      layer_types: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => (i % 4 === 3 ? 'full_attention' : 'linear_attention')),
      rms_norm_eps: 1e-6,
      rope_parameters: {
        rope_theta: 1e7,
        partial_rotary_factor: 0.25,
        mrope_section: [2, 1, 1],
        mrope_interleaved: true,
      },
      max_position_embeddings: 4096,
      eos_token_id: [752],
    });
    expect(config.vision).toEqual({
      depth: 3,
      hidden_size: 64,
      num_heads: 4,
      intermediate_size: 112,
      out_hidden_size: 96,
      patch_size: 16,
      temporal_patch_size: 2,
      spatial_merge_size: 2,
      num_position_embeddings: 64,
      in_channels: 3,
      rope_parameters: { rope_theta: 10000 },
    });
    const { text, vision, ...rest } = config;
    expect(rest).toEqual({
      model_type: 'qwen3_5',
      tie_word_embeddings: true,
      image_token_id: 762,
      video_token_id: 763,
      vision_start_token_id: 759,
      vision_end_token_id: 760,
    });
    expect(rotaryDim(text)).toBe(8);
  });

  it.each(['test/fixtures/qwen3_5-headdim', 'test/fixtures/spatialstack-tiny', 'nano'])('reads %s', async (dir) => {
    const config = parseQwen35Config(await loadConfigJson(dir), dir);
    expect(config.text.layer_types.length).toBe(config.text.num_hidden_layers);
    expect(config.vision?.out_hidden_size).toBe(config.text.hidden_size);
  });

  it('derives the layer plan from full_attention_interval, by default 4', () => {
    const plan = (interval: unknown) =>
      parse({}, { layer_types: null, full_attention_interval: interval })
        .text.layer_types.map((type) => type[0])
        .join('');
    expect(plan(4)).toBe('lllflllf');
    expect(plan(undefined)).toBe('lllflllf');
    expect(plan(3)).toBe('llfllfll');
  });

  it('treats null as absent and finds the rotary share in either place', () => {
    const rope_parameters = { rope_type: 'default', rope_theta: 1e7, mrope_section: null, mrope_interleaved: null };
    const rope = parse({}, { head_dim: 128, partial_rotary_factor: 0.5, rope_parameters }).text.rope_parameters;
    expect(rope).toEqual({
      rope_theta: 1e7,
      partial_rotary_factor: 0.5,
      mrope_section: [11, 11, 10],
      mrope_interleaved: true,
    });
    const share = parse({}, { head_dim: null, partial_rotary_factor: null, rope_parameters }).text;
    expect([share.head_dim, share.rope_parameters.partial_rotary_factor]).toEqual([256, 0.25]);
    expect(parse({}, { rms_norm_eps: null, linear_conv_kernel_dim: null, eos_token_id: null }).text).toMatchObject({
      rms_norm_eps: 1e-6,
      linear_conv_kernel_dim: 4,
      eos_token_id: [],
    });
    expect(parse({ eos_token_id: [1, 2] }, { eos_token_id: null }).text.eos_token_id).toEqual([1, 2]);
  });

  it('reads a text-only export, whose keys are at the top', () => {
    const config = parseQwen35Config({ ...tinyJson.text_config }, 'config.json');
    expect(config.model_type).toBe('qwen3_5_text');
    expect(config.text).toEqual(parse().text);
    expect(config.vision).toBeUndefined();
    expect([config.image_token_id, config.video_token_id]).toEqual([-1, -1]);
    expect(config.tie_word_embeddings).toBe(true);
  });

  it('names the supported model types', () => {
    for (const model_type of ['qwen3_5_moe', 'qwen2_5_vl', 'vggt', 7, null]) {
      expect(() => parse({ model_type })).toThrow(/config\.json: model_type must be .*"qwen3_5" or "qwen3_5_text"/);
    }
    expect(() => parse({}, { model_type: 'qwen3_5_moe_text' })).toThrow(/text_config\.model_type/);
  });

  const refusedText: [string, unknown][] = [
    ['hidden_size', 0],
    ['hidden_size', 1.5],
    ['hidden_size', '96'],
    ['hidden_size', 1e9],
    ['hidden_size', null],
    ['num_hidden_layers', -1],
    ['num_hidden_layers', 9],
    ['layer_types', ['full_attention']],
    ['layer_types', Array(8).fill('sliding_attention')],
    ['num_key_value_heads', 3],
    ['linear_num_key_heads', 3],
    ['hidden_act', 'gelu'],
    ['attention_bias', true],
    ['head_dim', 4],
    ['head_dim', 36],
    ['head_dim', 1024],
    ['rms_norm_eps', '1e-6'],
    ['rms_norm_eps', Number.NaN],
    ['eos_token_id', 768],
    ['eos_token_id', 'x'],
    ['rope_parameters', { rope_theta: 1e7, rope_type: 'yarn', mrope_section: [2, 1, 1] }],
    ['rope_parameters', { rope_theta: 1e7, mrope_section: [2, 2, 1] }],
    ['rope_parameters', { rope_theta: 1e7, mrope_section: [2, 2] }],
    ['rope_parameters', { rope_theta: 1e7 }],
    ['rope_parameters', { mrope_section: [2, 1, 1] }],
    ['rope_parameters', []],
  ];
  it.each(refusedText)('refuses text_config.%s = %j', (key, value) => {
    expect(() => parse({}, { [key]: value })).toThrow(InputError);
  });

  it('names the attention heads that decoding cannot read', () => {
    const rope_parameters = { rope_theta: 1e7, mrope_section: [2, 2, 1] };
    expect(() => parse({}, { head_dim: 20, partial_rotary_factor: 0.5, rope_parameters })).toThrow(
      /head_dim must be a multiple of 8, found 20/,
    );
  });

  const refusedVision: [string, unknown][] = [
    ['num_heads', 5],
    ['out_hidden_size', 64],
    ['num_position_embeddings', 65],
    ['in_channels', 4],
    ['hidden_act', 'gelu'],
    ['depth', 0],
  ];
  it.each(refusedVision)('refuses vision_config.%s = %j', (key, value) => {
    expect(() => parse({}, {}, { [key]: value })).toThrow(InputError);
  });

  it('refuses token ids beyond the vocabulary and configs that are no object', () => {
    expect(() => parse({ image_token_id: 768 })).toThrow(
      /image_token_id must be a whole number from 0 to 767, found 768/,
    );
    expect(() => parse({ video_token_id: null })).toThrow(/found nothing/);
    expect(() => parse({ text_config: null })).toThrow(/text_config must be an object/);
    for (const json of [undefined, null, 3, 'x', [], [{}]]) {
      expect(() => parseQwen35Config(json, 'config.json')).toThrow(InputError);
    }
  });

  it('sees own keys only', () => {
    const json = JSON.parse('{"model_type": "qwen3_5_text", "__proto__": {"hidden_size": 96}, "constructor": 1}');
    expect(() => parseQwen35Config(json, 'config.json')).toThrow(InputError);
    expect({}).not.toHaveProperty('hidden_size');
    const inherited = Object.create(tinyJson.text_config);
    expect(() => parseQwen35Config(inherited, 'config.json')).toThrow(/model_type/);
  });

  it('answers arbitrary JSON with a config or an InputError', () => {
    const keys = Object.keys(tinyJson.text_config);
    const changes = fc.dictionary(fc.constantFrom(...keys), fc.oneof(fc.jsonValue(), fc.integer(), fc.nat(64)), {
      maxKeys: 3,
    });
    const visionChanges = fc.dictionary(fc.constantFrom(...Object.keys(tinyJson.vision_config)), fc.jsonValue(), {
      maxKeys: 1,
    });
    const check = (attempt: () => ReturnType<typeof parse>) => {
      try {
        const { text } = attempt();
        expect(text.layer_types.length).toBe(text.num_hidden_layers);
        expect(text.num_attention_heads % text.num_key_value_heads).toBe(0);
        expect(Number.isSafeInteger(text.hidden_size)).toBe(true);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        expect(error.message.length).toBeLessThan(1000);
      }
    };
    fc.assert(fc.property(fc.jsonValue(), (json) => check(() => parseQwen35Config(json, 'f'))));
    fc.assert(
      fc.property(changes, visionChanges, (text, vision) => check(() => parse({}, text, vision))),
      { numRuns: 1000 },
    );
  });
});

describe('loadConfigJson', () => {
  it('refuses a missing, malformed or too large file', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'config-'));
    try {
      await expect(loadConfigJson(dir)).rejects.toThrow(/config\.json does not exist/);
      const path = join(dir, 'config.json');
      await writeFile(path, '{"a": 1,}');
      await expect(loadConfigJson(dir)).rejects.toThrow(InputError);
      await writeFile(path, '['.repeat(1e6));
      await expect(loadConfigJson(dir)).rejects.toThrow(InputError);
      await writeFile(path, '\ufeff{"a": 1}');
      expect(await loadConfigJson(dir)).toEqual({ a: 1 });
      await truncate(path, 64 * 2 ** 20 + 1);
      await expect(loadConfigJson(dir)).rejects.toThrow(/at most 64 MiB/);
      await expect(readJsonFile(dir)).rejects.toThrow(InputError);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

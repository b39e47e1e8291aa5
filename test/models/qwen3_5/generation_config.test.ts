import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { loadConfigJson } from '../../../src/io/json.ts';
import { Tokenizer } from '../../../src/io/tokenizer.ts';
import { parseQwen35Config } from '../../../src/models/qwen3_5/config.ts';
import { loadGenerationConfig, parseGenerationConfig } from '../../../src/models/qwen3_5/generation_config.ts';

async function load(dir: string) {
  const config = parseQwen35Config(await loadConfigJson(dir), dir);
  return loadGenerationConfig(dir, (await Tokenizer.load(dir)).eosTokenId, config);
}

describe('loadGenerationConfig', () => {
  it('reads the checkpoints', async () => {
    const greedy = { do_sample: false, temperature: 1, top_p: 1, top_k: 50 };
    expect(await load('nano')).toEqual({ ...greedy, eos_token_ids: [496] });
    expect(await load('test/fixtures/qwen3_5-tiny')).toEqual({ ...greedy, eos_token_ids: [752] });
    // Its generation_config.json names no eos_token_id.
    expect(await load('test/fixtures/spatialstack-tiny')).toEqual({ ...greedy, eos_token_ids: [752] });
  });

  it("stops on the model config's and the tokenizer's end without a file", async () => {
    const config = parseQwen35Config(await loadConfigJson('nano'), 'nano');
    config.text.eos_token_id = [494];
    expect((await loadGenerationConfig('test/fixtures/vggt-tiny', 496, config)).eos_token_ids).toEqual([494, 496]);
  });

  it('takes one or several ends and the sampling settings of a larger release', async () => {
    const config = parseQwen35Config(await loadConfigJson('nano'), 'nano');
    const parse = (json: unknown) => parseGenerationConfig(json, 'generation_config.json', 496, config);
    const release = { eos_token_id: [496, 494], do_sample: true, temperature: 0.6, top_p: 0.95, top_k: 20 };
    const { eos_token_id, ...sampling } = release;
    expect(parse(release)).toEqual({ ...sampling, eos_token_ids: eos_token_id });
    expect(parse({ eos_token_id: 1, temperature: null }).eos_token_ids).toEqual([1, 496]);
    for (const bad of [
      { eos_token_id: -1 },
      { eos_token_id: [1, 'x'] },
      { temperature: -1 },
      { top_p: 2 },
      { top_k: 0.5 },
      [],
    ]) {
      expect(() => parse(bad)).toThrow(InputError);
    }
  });
});

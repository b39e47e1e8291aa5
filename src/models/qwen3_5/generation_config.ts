import { join } from 'node:path';
import { readJsonFileIfPresent } from '../../io/json.ts';
import { JsonFields } from '../../io/json_fields.ts';
import type { Qwen35Config } from './config.ts';

/** How to choose tokens and when to stop, unless the caller says otherwise; names as in `generation_config.json`. */
export interface GenerationConfig {
  /** Any of these ends the answer. */
  eos_token_ids: number[];
  /** Draw from the distribution; false takes the likeliest token. */
  do_sample: boolean;
  temperature: number;
  /** Smallest set of likeliest tokens whose probabilities reach this sum; 1 keeps all. */
  top_p: number;
  /** Number of likeliest tokens to draw from; 0 keeps all. */
  top_k: number;
}

/**
 * Reads `generation_config.json` of a checkpoint's folder; without the file, or for an absent key, the defaults of
 * transformers apply. Generation stops on the file's `eos_token_id` (one or several; else the model config's) and on the
 * tokenizer's end of turn (spec qwen3_5_text.md section 9).
 */
export async function loadGenerationConfig(
  dir: string,
  tokenizerEosTokenId: number,
  config: Qwen35Config,
): Promise<GenerationConfig> {
  const path = join(dir, 'generation_config.json');
  return parseGenerationConfig((await readJsonFileIfPresent(path)) ?? {}, path, tokenizerEosTokenId, config);
}

/** Checks a parsed `generation_config.json`; `source` names the file in messages. */
export function parseGenerationConfig(
  json: unknown,
  source: string,
  tokenizerEosTokenId: number,
  config: Qwen35Config,
): GenerationConfig {
  const fields = JsonFields.of(json, source);
  const eos = fields.integerOrIntegers('eos_token_id', { max: config.text.vocab_size - 1 }) ?? config.text.eos_token_id;
  return {
    eos_token_ids: [...new Set([...eos, tokenizerEosTokenId])],
    do_sample: fields.boolean('do_sample', false),
    temperature: fields.number('temperature', { max: 100, fallback: 1 }),
    top_p: fields.number('top_p', { max: 1, fallback: 1 }),
    top_k: fields.integer('top_k', { min: 0, max: 2 ** 24, fallback: 50 }),
  };
}

import { InputError } from '../io/errors.ts';
import { show } from '../io/strict_json.ts';
import type { GenerationSettings } from './task_config.ts';

/** How an answer is generated. */
export interface AnswerSettings {
  readonly maxNewTokens: number;
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  /** 1 keeps all tokens. */
  readonly topP: number;
}

const rules = {
  max_new_tokens: { expected: 'a whole number above 0', accepts: (v: unknown) => isWhole(v) && v > 0 },
  temperature: { expected: 'a number from 0 to 100', accepts: (v: unknown) => isNumber(v) && v >= 0 && v <= 100 },
  top_p: { expected: 'a number above 0 and at most 1', accepts: (v: unknown) => isNumber(v) && v > 0 && v <= 1 },
  num_beams: { expected: '1, because there is no beam search', accepts: (v: unknown) => v === 1 },
  // As in the original these two change nothing: the temperature decides about sampling, the stop token about the end.
  do_sample: { expected: 'true or false', accepts: (v: unknown) => typeof v === 'boolean' },
  until: { expected: 'text', accepts: () => true },
} satisfies Record<string, { expected: string; accepts: (value: unknown) => boolean }>;

/** What a run's settings (a task's with those of `--gen-kwargs`) mean; defaults as in the original. @throws InputError */
export function answerSettings(settings: GenerationSettings): AnswerSettings {
  for (const [key, value] of Object.entries(settings)) {
    const rule = Object.hasOwn(rules, key) ? rules[key as keyof typeof rules] : undefined;
    if (rule === undefined) {
      throw new InputError(`--gen-kwargs: unknown key ${show(key)}; known are ${Object.keys(rules).join(', ')}.`);
    }
    if (!rule.accepts(value))
      throw new InputError(`--gen-kwargs: ${key} must be ${rule.expected}, found ${show(value)}.`);
  }
  const { max_new_tokens = 4096, temperature = 0, top_p = 1 } = settings as Record<string, number>;
  return { maxNewTokens: max_new_tokens, temperature, topP: top_p };
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

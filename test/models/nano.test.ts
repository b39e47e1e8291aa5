import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  askNano,
  LIMIT_OPTIONS,
  NANO,
  type NanoLimits,
  type NanoQuestion,
  readNanoQuestions,
  referenceOf,
} from '../../scripts/nano.ts';
import { type LoadedModel, loadLanguageModel } from '../../src/models/load.ts';
import type { DtypeName } from '../../src/models/precision.ts';
import { useDevice } from '../device.ts';

const QUESTIONS = await readNanoQuestions();
const named = (numbers: readonly number[]): NanoQuestion[] => numbers.map((n) => QUESTIONS[n]!);

/** One question of each task; 3 and 10 with a thought, 14 and 15 with two pictures, 4, 14 and 15 with frame numbers. All 120: scripts/nano-eval.ts. */
const EVERY_TASK = named([0, 1, 2, 3, 4, 5, 7, 8, 10, 14, 15, 19, 21]);
const IN_BFLOAT16 = named([10, 14]);
const OWN_LIMITS = named([2, 60]);

/** The first question of a dtype waits for the shaders to be compiled, which takes software Vulkan a minute on a busy machine. */
const FIRST_ANSWER_MS = 300_000;

const device = useDevice();

describe('the sample', () => {
  it('covers every task, thoughts and two pictures', () => {
    const tasks = (questions: readonly NanoQuestion[]) => [...new Set(questions.map(({ task }) => task))].sort();
    expect(tasks(EVERY_TASK)).toEqual(tasks(QUESTIONS));
    for (const questions of [EVERY_TASK, IN_BFLOAT16]) {
      expect(questions.some(({ thinking }) => thinking)).toBe(true);
      expect(questions.some(({ images }) => images.length === 2)).toBe(true);
    }
  });
});

describe.each<{ dtype: DtypeName; limits: NanoLimits; questions: NanoQuestion[] }>([
  { dtype: 'float32', limits: 'infer', questions: EVERY_TASK },
  { dtype: 'bfloat16', limits: 'infer', questions: IN_BFLOAT16 },
  { dtype: 'float32', limits: 'own', questions: OWN_LIMITS },
])('a trained checkpoint in $dtype under the limits of $limits', ({ dtype, limits, questions }) => {
  let loaded: LoadedModel;
  beforeAll(async () => {
    loaded = await loadLanguageModel(device(), NANO, { dtype, ...LIMIT_OPTIONS[limits] });
  });
  afterAll(() => loaded?.close());

  it.each(questions)(
    'answers $id: $question',
    async (question) => {
      const { ids, text, promptTokens } = await askNano(loaded, question);
      const reference = referenceOf(question, limits);
      expect(promptTokens).toBe(reference.prompt_tokens);
      expect(ids).toEqual(reference.reference_ids);
      expect(text).toBe(reference.reference_answer);
    },
    FIRST_ANSWER_MS,
  );
});

describe('layers whose workgroups wait for each other', () => {
  it(
    'answer as those that take a dispatch for every product',
    async () => {
      const loaded = await loadLanguageModel(device(), NANO, { dtype: 'bfloat16', ...LIMIT_OPTIONS.infer });
      try {
        // A CPU runs one workgroup after the other, so one has to do.
        if (loaded.model.text.team === 0) loaded.model.text.team = 1;
        const dispatched = vi.spyOn(device(), 'run');
        const question = QUESTIONS[14]!;
        const { ids } = await askNano(loaded, question);
        expect(ids).toEqual(referenceOf(question, 'infer').reference_ids);
        const kernels = new Set(dispatched.mock.calls.map(([{ kernel }]) => kernel));
        expect(kernels).toContain('layer_step/delta_layer');
        expect(kernels).toContain('layer_step/attention_layer');
      } finally {
        vi.restoreAllMocks();
        await loaded.close();
      }
    },
    FIRST_ANSWER_MS,
  );
});

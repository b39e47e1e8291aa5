import { describe, expect, it } from 'vitest';
import {
  GENERATED,
  IN_PROMPT,
  markTokens,
  type SamplingOptions,
  sampleToken,
  sampleWithDetails,
} from '../../src/kernels/sample.ts';
import { KernelError } from '../../src/tensor/errors.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { sampleReference } from '../reference/sample.ts';

const device = useDevice();

const OFF: SamplingOptions = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  seed: 1,
};

function randomHistory(random: Random, count: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: count }, () => Math.max(0, random.integer(-6, 3)));
}

/** A cursor before draw `step`. */
function cursorAt(step: number): Tensor {
  return device().upload(Uint32Array.of(0, step), [2], 'u32');
}

/** Which tokens the GPU kept, and the token it drew. */
async function keptOnGpu(raw: Float32Array, options: Partial<SamplingOptions>, history?: Uint32Array<ArrayBuffer>) {
  const logits = device().upload(raw, [1, raw.length], 'f32');
  const state = { options: { ...OFF, ...options }, cursor: cursorAt(0) };
  const details = sampleWithDetails(
    logits,
    history === undefined ? state : { ...state, history: device().upload(history, [raw.length], 'u32') },
  );
  const keys = Uint32Array.from(await device().readInt32(details.keys));
  const [threshold] = Uint32Array.from(await device().readInt32(details.threshold));
  const [token] = await device().readInt32(details.token);
  expect(keys.length).toBe(Math.ceil(raw.length / 4) * 4);
  return { kept: Array.from(keys, (key) => key >= threshold!).slice(0, raw.length), token: token! };
}

/** The tokens of `count` draws, one after the other without a readback. */
async function draws(raw: Float32Array, options: Partial<SamplingOptions>, count: number): Promise<number[]> {
  const logits = device().upload(raw, [1, raw.length], 'f32', true);
  const tokens = device().tensor([count], 'i32');
  for (let step = 0; step < count; step++) {
    device().tidy(() => {
      const token = sampleToken(logits, { options: { ...OFF, ...options }, cursor: cursorAt(step) });
      device().copy(token, 0, tokens, step, 1);
    });
  }
  const result = [...(await device().readInt32(tokens))];
  device().dispose(tokens);
  device().destroyTensor(logits);
  return result;
}

/** Pearson's statistic, in deviations from what chance gives; cells that expect under 5 are put together. */
function chiSquareDeviations(counts: ArrayLike<number>, probabilities: ArrayLike<number>, total: number): number {
  const rest = { count: 0, expected: 0 };
  let statistic = 0;
  let cells = 0;
  for (let i = 0; i < probabilities.length; i++) {
    const expected = probabilities[i]! * total;
    if (expected < 5) {
      rest.count += counts[i]!;
      rest.expected += expected;
      continue;
    }
    statistic += (counts[i]! - expected) ** 2 / expected;
    cells += 1;
  }
  if (rest.expected > 0) {
    statistic += (rest.count - rest.expected) ** 2 / rest.expected;
    cells += 1;
  } else if (rest.count > 0) return Infinity;
  const freedom = Math.max(1, cells - 1);
  return (statistic - freedom) / Math.sqrt(2 * freedom);
}

function countsOf(tokens: readonly number[], size: number): Float64Array {
  const counts = new Float64Array(size);
  for (const token of tokens) counts[token]! += 1;
  return counts;
}

describe('kept tokens', () => {
  const filters: [string, Partial<SamplingOptions>][] = [
    ['nothing', {}],
    ['top-k 1', { topK: 1 }],
    ['top-k 20', { topK: 20 }],
    ['top-k beyond V', { topK: 1_000_000 }],
    ['top-p 0.9', { topP: 0.9 }],
    ['top-p 0.999', { topP: 0.999 }],
    ['top-p 1e-6', { topP: 1e-6 }],
    ['min-p', { minP: 0.02 }],
    ['min-p 1', { minP: 1 }],
    ['temperature and top-p', { temperature: 3, topP: 0.7 }],
    ['low temperature and top-p', { temperature: 0.05, topP: 0.95 }],
    ['top-k and top-p', { topK: 40, topP: 0.8 }],
    ['all filters', { temperature: 1.7, topK: 30, topP: 0.95, minP: 0.01 }],
  ];

  it.each(filters)('match the sort: %s', async (_, options) => {
    for (const count of [8, 33, 1023, 1025, 5000]) {
      const raw = new Random(count).normal(count, 3);
      const expected = sampleReference(raw, { ...OFF, ...options });
      const { kept, token } = await keptOnGpu(raw, options);
      expect(kept).toEqual(expected.kept);
      expect(expected.kept[token]).toBe(true);
    }
  });

  it.each(filters)('match the sort with penalties: %s', async (_, options) => {
    for (const count of [10, 2050]) {
      const random = new Random(count);
      const raw = random.normal(count, 3);
      const history = randomHistory(random, count);
      const penalised = { ...options, repetitionPenalty: 1.3, presencePenalty: 1.5 };
      const { kept } = await keptOnGpu(raw, penalised, history);
      expect(kept).toEqual(sampleReference(raw, { ...OFF, ...penalised }, history).kept);
    }
  });

  it('match the sort on a whole vocabulary up to the rounding of exp', async () => {
    const count = 248320;
    const raw = new Random(9).normal(count, 2.5);
    for (const options of [
      { topK: 20, topP: 0.95 },
      { topP: 0.95 },
      { topK: 50_000 },
      { temperature: 0.6, topP: 0.99 },
    ]) {
      const expected = sampleReference(raw, { ...OFF, ...options });
      const { kept } = await keptOnGpu(raw, options);
      const differing = sampleReference(raw, { ...OFF, temperature: options.temperature ?? 1 }).probabilities.filter(
        (_, i) => kept[i] !== expected.kept[i],
      );
      expect(differing.reduce((a, b) => a + b, 0)).toBeLessThan(2e-6);
    }
  });

  it('keep equal logits together', async () => {
    const random = new Random(4);
    const raw = Float32Array.from({ length: 3000 }, () => random.integer(-4, 4));
    for (const options of [{ topK: 7 }, { topK: 500 }, { topP: 0.5 }, { topK: 900, topP: 0.97 }, { minP: 0.1 }]) {
      expect((await keptOnGpu(raw, options)).kept).toEqual(sampleReference(raw, { ...OFF, ...options }).kept);
    }
    const same = new Float32Array(777).fill(-2.5);
    expect((await keptOnGpu(same, { topK: 3, topP: 0.1 })).kept).toEqual(Array(777).fill(true));
  });

  it('stand infinities, NaN and huge values', async () => {
    const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
    const cases = [
      [-inf, 1, -inf, 2, nan, 0, -inf, -1],
      [inf, 1, -inf, 3.4e38, nan, -3.4e38, 0, -0],
      [-3.4e38, -3.3e38, -3.4e38, -inf, -inf, -inf, -inf, -inf],
      [1e30, -1e30, 1e-30, -1e-30, 0, -0, 1e38, -1e38],
      [nan, nan, nan, 5, nan, nan, nan, nan],
      [-inf, -inf, -inf, -inf, -inf, -inf, -inf, -1e-42],
    ];
    for (const values of cases) {
      const raw = Float32Array.from(values);
      for (const options of [
        {},
        { topK: 3 },
        { topP: 0.9 },
        { minP: 0.5 },
        { temperature: 0.01, topK: 5, topP: 0.5 },
      ]) {
        const expected = sampleReference(raw, { ...OFF, ...options });
        const { kept, token } = await keptOnGpu(raw, options);
        expect(kept, JSON.stringify([values, options])).toEqual(expected.kept);
        expect(expected.probabilities[token]).toBeGreaterThan(0);
      }
    }
  });

  it('draws no token where nothing can be drawn', async () => {
    for (const value of [Number.NaN, -Infinity]) {
      const raw = new Float32Array(1500).fill(value);
      for (const options of [{}, { topK: 5, topP: 0.5, minP: 0.1 }, { temperature: 0 }]) {
        expect((await keptOnGpu(raw, options)).token).toBe(-1);
      }
    }
  });
});

describe('draws', () => {
  it.each<[string, number, number, Partial<SamplingOptions>]>([
    ['softmax', 24, 1.5, {}],
    ['softmax over several workgroups', 3000, 1, {}],
    ['temperature', 24, 1.5, { temperature: 2 }],
    ['all filters', 24, 1.5, { temperature: 1.4, topK: 12, topP: 0.9, minP: 0.05 }],
  ])('follow the probabilities: %s', async (_, size, deviation, options) => {
    const count = 2000;
    const raw = new Random(size).normal(size, deviation);
    const tokens = await draws(raw, { ...options, seed: 42 }, count);
    const { probabilities } = sampleReference(raw, { ...OFF, ...options });
    expect(chiSquareDeviations(countsOf(tokens, size), probabilities, count)).toBeLessThan(4);
  });

  it('are independent from one step to the next', async () => {
    const size = 5;
    const count = 2500;
    const raw = new Random(1).normal(size, 0.7);
    const tokens = await draws(raw, { seed: 7 }, count);
    const { probabilities } = sampleReference(raw, OFF);
    const pairs = tokens.slice(1).map((token, i) => tokens[i]! * size + token);
    const expected = Array.from(
      { length: size * size },
      (_, i) => probabilities[Math.floor(i / size)]! * probabilities[i % size]!,
    );
    expect(chiSquareDeviations(countsOf(pairs, size * size), expected, count - 1)).toBeLessThan(4);
  });

  it('repeat with their seed and differ with another', async () => {
    const raw = new Random(2).normal(1000, 0.5);
    const first = await draws(raw, { seed: 123 }, 40);
    expect(await draws(raw, { seed: 123 }, 40)).toEqual(first);
    for (const seed of [0, 124, 123 + 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const other = await draws(raw, { seed }, 40);
      expect(other.filter((token, i) => token === first[i]).length).toBeLessThan(6);
    }
  });

  it('become greedy as the temperature falls to 0', async () => {
    for (const size of [8, 4099]) {
      const raw = new Random(size).normal(size, 3);
      const { greedy } = sampleReference(raw, OFF);
      for (const temperature of [0, 1e-6, 1e-3]) {
        expect(await draws(raw, { temperature, seed: 5 }, 4)).toEqual(Array(4).fill(greedy));
      }
    }
    expect(await draws(Float32Array.from([1, 3, 3, 2]), { temperature: 0 }, 1)).toEqual([1]);
  });

  it('penalise before the greedy choice', async () => {
    const random = new Random(6);
    for (const size of [9, 3000]) {
      const raw = random.normal(size, 2);
      const history = randomHistory(random, size);
      const options = { ...OFF, temperature: 0, repetitionPenalty: 1.5, presencePenalty: 2 };
      const { token } = await keptOnGpu(raw, options, history);
      expect(token).toBe(sampleReference(raw, options, history).greedy);
    }
  });
});

describe('markTokens', () => {
  const ids = (...values: number[]): Tensor => device().upload(Int32Array.from(values), [values.length], 'i32');

  it('sets flags and passes over ids outside of the vocabulary', async () => {
    const history = device().clear(device().tensor([10], 'u32'));
    markTokens(history, ids(1, 3, 3, -1, 10, 1_000_000), IN_PROMPT);
    markTokens(history, ids(3), GENERATED);
    markTokens(history, ids(9), GENERATED);
    expect([...(await device().readInt32(history))]).toEqual([0, 1, 0, 3, 0, 0, 0, 0, 0, 2]);
  });

  it('feeds drawn tokens back without a readback', async () => {
    const size = 50;
    const logits = device().upload(new Float32Array(size), [1, size], 'f32');
    const history = device().clear(device().tensor([size], 'u32'));
    const options = { ...OFF, presencePenalty: 1e4 };
    const tokens = Array.from({ length: size }, (_, step) => {
      const token = sampleToken(logits, { options, cursor: cursorAt(step), history });
      markTokens(history, token, GENERATED);
      return token;
    });
    const drawn = await Promise.all(tokens.map(async (token) => (await device().readInt32(token))[0]!));
    expect(drawn.toSorted((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
  });
});

describe('refusals', () => {
  it('name what does not fit', () => {
    const logits = device().tensor([1, 8], 'f32');
    const sample = (options: Partial<SamplingOptions>, on = logits) =>
      sampleToken(on, { options: { ...OFF, ...options }, cursor: cursorAt(0) });
    expect(() => sample({ repetitionPenalty: 2 })).toThrow('sample: penalties need a history');
    expect(() => sample({}, device().tensor([2, 8], 'f32'))).toThrow('sample: logits f32 [2,8]');
    for (const wrong of [
      { temperature: -1 },
      { topP: 0 },
      { topK: 1.5 },
      { minP: 2 },
      { seed: -1 },
      { temperature: NaN },
    ]) {
      expect(() => sample(wrong)).toThrow(KernelError);
    }
  });
});

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { type LoadedModel, loadLanguageModel } from '../../src/models/load.ts';
import type { DtypeName } from '../../src/models/precision.ts';
import { Cache } from '../../src/models/qwen3_5/cache.ts';
import { type FinishReason, type GenerateOptions, generate } from '../../src/models/qwen3_5/generate.ts';
import type { ModelInput } from '../../src/models/qwen3_5/input.ts';
import { type LanguageModel, rotaryAngles } from '../../src/models/qwen3_5/model.ts';
import { rotaryTable } from '../../src/models/qwen3_5/positions.ts';
import { readReferenceInput } from '../../src/models/qwen3_5/replay.ts';
import type { Sampling } from '../../src/models/qwen3_5/sampler.ts';
import { TOLERANCES } from '../../src/models/reference.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';

const device = useDevice();

/** A loaded checkpoint for the tests of a `describe`. */
function useModel(folder: string, dtype: DtypeName): () => LoadedModel {
  let loaded: LoadedModel | undefined;
  beforeAll(async () => {
    loaded = await loadLanguageModel(device(), `test/fixtures/${folder}`, { dtype });
  });
  afterAll(() => loaded?.close());
  return () => loaded!;
}

interface Case {
  readonly input: ModelInput;
  readonly ids: number[];
  readonly margins: Float32Array;
}

/** The prompt of a reference file and what PyTorch continued it with. */
async function readCase({ model, path }: LoadedModel, name: string): Promise<Case> {
  const reference = await Checkpoint.open(`${path}/reference/${name}.safetensors`);
  try {
    const ids = [...(await reference.readInt32('generated_ids'))];
    const margins = await reference.readFloat32('generated_margin');
    return { input: await readReferenceInput(reference, model), ids, margins };
  } finally {
    await reference.close();
  }
}

/** Generates to the end; greedy and without stop tokens unless given. */
async function run(
  model: LanguageModel,
  input: ModelInput,
  options: Partial<GenerateOptions> = {},
): Promise<{ ids: number[]; reason: FinishReason }> {
  const tokens = generate(model, input, { maxNewTokens: 16, stopTokens: [], ...options });
  const ids: number[] = [];
  let next = await tokens.next();
  for (; !next.done; next = await tokens.next()) ids.push(next.value);
  return { ids, reason: next.value };
}

/** Greedy ids agree up to the first step at which either of two may come. */
function expectSameUntilTie(ids: readonly number[], { ids: expected, margins }: Case, clear: number): void {
  const tie = margins.findIndex((margin) => margin < clear);
  const length = tie < 0 ? expected.length : Math.min(tie, expected.length);
  expect(length).toBeGreaterThan(0);
  expect(ids.slice(0, length)).toEqual(expected.slice(0, length));
}

describe.each(['float32', 'bfloat16'] as const)('greedy decoding in %s', (dtype) => {
  const { margin } = TOLERANCES[dtype];

  describe.each([
    { folder: 'qwen3_5-tiny', cases: ['text', 'text_short', 'image', 'images', 'video'] },
    { folder: 'qwen3_5-headdim', cases: ['text', 'image'] },
    { folder: 'spatialstack-tiny', cases: ['image', 'images'] },
  ])('$folder', ({ folder, cases }) => {
    const loaded = useModel(folder, dtype);

    it.each(cases)('gives the ids of PyTorch, one or four steps in flight: %s', async (name) => {
      const expected = await readCase(loaded(), name);
      const maxNewTokens = expected.ids.length;
      const one = await run(loaded().model, expected.input, { maxNewTokens, stepsInFlight: 1 });
      expect(one.reason).toBe('length');
      expect(one.ids).toHaveLength(maxNewTokens);
      expectSameUntilTie(one.ids, expected, margin);
      const four = await run(loaded().model, expected.input, { maxNewTokens, stepsInFlight: 4 });
      expect(four).toEqual(one);
    });
  });
});

describe('one sequence in several calls', () => {
  /** Logits after the last of `count` more tokens, run through the decoder in calls of these sizes. */
  async function continued(
    { model }: LoadedModel,
    input: ModelInput,
    start: number,
    calls: readonly number[],
  ): Promise<Float32Array> {
    const { config, text } = model;
    const all = input.inputIds;
    const cache = new Cache(device(), config.text, model.precision, all.length);
    const axis = (i: number) => input.positions.subarray(i * all.length, (i + 1) * all.length);
    const slice = (from: number, to: number) =>
      Int32Array.from([0, 1, 2].flatMap((i) => [...axis(i).subarray(from, to)]));
    let normed = await model.prefill({ ...input, inputIds: all.subarray(0, start), positions: slice(0, start) }, cache);
    let at = start;
    for (const count of calls) {
      device().dispose(normed);
      normed = device().tidy(() => {
        const angles = rotaryTable(slice(at, at + count), config.text);
        const table = device().upload(angles, [count, rotaryAngles(config), 2], 'f32');
        const h = text.embed(device().upload(all.slice(at, at + count), [count], 'i32'));
        return text.forward(h, table, cache);
      });
      at += count;
    }
    expect(at).toBe(all.length);
    expect(cache.length).toBe(all.length);
    const logits = await lastLogits(model, normed);
    device().dispose(normed);
    cache.destroy();
    return logits;
  }

  async function lastLogits({ text }: LanguageModel, normed: Tensor): Promise<Float32Array> {
    const logits = device().tidy(() => {
      const row = device().tensor([1, normed.dim(1)]);
      device().copy(normed, normed.size - row.size, row, 0, row.size);
      return text.logits(row);
    });
    const values = await device().readFloat32(logits);
    device().dispose(logits);
    return values;
  }

  describe.each(['qwen3_5-tiny', 'qwen3_5-headdim'])('%s', (folder) => {
    const loaded = useModel(folder, 'float32');

    it('gives the logits of one prefill', async () => {
      const { input } = await readCase(loaded(), 'text_long');
      const length = input.inputIds.length;
      const whole = await continued(loaded(), input, length, []);
      const tokenByToken = Array.from({ length: 40 }, () => 1);
      expect(relativeL2(await continued(loaded(), input, length - 40, tokenByToken), whole)).toBeLessThan(1e-5);
      expect(relativeL2(await continued(loaded(), input, 70, [length - 70]), whole)).toBeLessThan(1e-5);
      expect(relativeL2(await continued(loaded(), input, 1, [1, 2, 64, length - 68]), whole)).toBeLessThan(1e-5);
    });
  });

  describe('spatialstack-tiny', () => {
    const loaded = useModel('spatialstack-tiny', 'float32');

    it('keeps what a picture and its geometry left in the caches', async () => {
      const { input } = await readCase(loaded(), 'image');
      const length = input.inputIds.length;
      const afterPicture = input.inputIds.lastIndexOf(loaded().model.config.image_token_id) + 1;
      const whole = await continued(loaded(), input, length, []);
      const rest = length - afterPicture;
      expect(rest).toBeGreaterThan(4);
      const steps = Array.from({ length: rest }, () => 1);
      expect(relativeL2(await continued(loaded(), input, afterPicture, steps), whole)).toBeLessThan(1e-5);
      expect(relativeL2(await continued(loaded(), input, afterPicture, [rest]), whole)).toBeLessThan(1e-5);
    });
  });
});

describe('how a generation ends', () => {
  const loaded = useModel('qwen3_5-tiny', 'float32');

  it.each([1, 4])('at a stop token, which is yielded, with %i steps in flight', async (stepsInFlight) => {
    const { input, ids } = await readCase(loaded(), 'text');
    const stop = ids[3]!;
    const expected = ids.slice(0, ids.indexOf(stop) + 1);
    const options = { stopTokens: [767, stop], stepsInFlight };
    expect(await run(loaded().model, input, options)).toEqual({ ids: expected, reason: 'stop' });
  });

  it.each([0, 1, 2, 5])('after %i new tokens', async (maxNewTokens) => {
    const { input, ids } = await readCase(loaded(), 'text');
    for (const stepsInFlight of [1, 4]) {
      const result = await run(loaded().model, input, { maxNewTokens, stepsInFlight });
      expect(result).toEqual({ ids: ids.slice(0, maxNewTokens), reason: 'length' });
    }
  });

  it('when it is interrupted', async () => {
    const { input, ids } = await readCase(loaded(), 'text');
    const controller = new AbortController();
    const seen: number[] = [];
    const options = { maxNewTokens: 16, stopTokens: [], signal: controller.signal, stepsInFlight: 4 };
    const tokens = generate(loaded().model, input, options);
    let next = await tokens.next();
    for (; !next.done; next = await tokens.next()) {
      seen.push(next.value);
      if (seen.length === 3) controller.abort();
    }
    expect(next.value).toBe('interrupted');
    expect(seen).toEqual(ids.slice(0, 3));
  });

  it('at the end of the context; a prompt that fills it is refused', async () => {
    const { input, ids } = await readCase(loaded(), 'text');
    const { model } = loaded();
    const within = (context: number): LanguageModel => ({
      device: model.device,
      precision: model.precision,
      text: model.text,
      config: { ...model.config, text: { ...model.config.text, max_position_embeddings: context } },
      look: (...parameters) => model.look(...parameters),
      prefill: (...parameters) => model.prefill(...parameters),
      rehearse: () => model.rehearse(),
    });
    const length = input.inputIds.length;
    expect(await run(within(length + 3), input)).toEqual({ ids: ids.slice(0, 3), reason: 'length' });
    const refused = run(within(length), input);
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(`the prompt has ${length} tokens; this model's context holds ${length}`);
  });
});

describe('sampling', () => {
  const loaded = useModel('qwen3_5-tiny', 'float32');
  const plain: Sampling = {
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    seed: 7,
  };

  it('ends with a sentence where no logit is a number, and so does greedy choice', async () => {
    const { input } = await readCase(loaded(), 'text');
    const { text, config } = loaded().model;
    const nothing = device().upload(
      new Float32Array(config.text.vocab_size).fill(Number.NaN),
      [1, config.text.vocab_size],
      'f32',
      true,
    );
    const logits = vi.spyOn(text, 'logits').mockReturnValue(nothing);
    try {
      for (const sampling of [undefined, plain, { ...plain, topK: 20, topP: 0.9, repetitionPenalty: 1.1 }])
        await expect(run(loaded().model, input, { sampling })).rejects.toThrow('no token could be chosen');
    } finally {
      logits.mockRestore();
      device().destroyTensor(nothing);
    }
  });

  it('repeats with its seed, however many steps are in flight', async () => {
    const { input } = await readCase(loaded(), 'text');
    const sampled = (sampling: Sampling, stepsInFlight?: number) =>
      run(loaded().model, input, { sampling, ...(stepsInFlight !== undefined && { stepsInFlight }) });
    const first = await sampled(plain);
    expect(await sampled(plain)).toEqual(first);
    expect(await sampled(plain, 4)).toEqual(first);
    expect(await sampled({ ...plain, seed: 8 })).not.toEqual(first);
  });

  it('is greedy at temperature 0, with one token to draw from, and when the temperature is very low', async () => {
    const expected = await readCase(loaded(), 'text');
    const greedy = await run(loaded().model, expected.input);
    for (const change of [{ temperature: 0 }, { topK: 1 }, { topP: 1e-6 }]) {
      expect(await run(loaded().model, expected.input, { sampling: { ...plain, ...change } })).toEqual(greedy);
    }
    const cold = await run(loaded().model, expected.input, { sampling: { ...plain, temperature: 1e-5 } });
    expectSameUntilTie(cold.ids, { ...expected, ids: expected.ids.slice(0, 16) }, 1e-3);
  });

  it.each([1, 4])('remembers what was generated, with %i steps in flight', async (stepsInFlight) => {
    const { input } = await readCase(loaded(), 'images');
    const unique = ({ ids }: { ids: number[] }) => new Set(ids).size;
    const options = { maxNewTokens: 24, stepsInFlight };
    expect(unique(await run(loaded().model, input, options))).toBeLessThan(24);
    const sampling = { ...plain, temperature: 0, presencePenalty: 1000 };
    expect(unique(await run(loaded().model, input, { ...options, sampling }))).toBe(24);
  });
});

describe('GPU memory', () => {
  const loaded = useModel('spatialstack-tiny', 'bfloat16');

  it('is the same after every generation', async () => {
    const { input, ids } = await readCase(loaded(), 'image');
    const penalised = {
      temperature: 1,
      topK: 20,
      topP: 0.9,
      minP: 0,
      repetitionPenalty: 1.1,
      presencePenalty: 0.5,
      seed: 1,
    };
    const interrupted = new AbortController();
    interrupted.abort();
    device().trim();
    const before = device().memory.allocated;
    const variations: Partial<GenerateOptions>[] = [
      {},
      { stepsInFlight: 4 },
      { sampling: penalised },
      { stopTokens: [ids[2]!], stepsInFlight: 4 },
      { signal: interrupted.signal, stepsInFlight: 4 },
      { maxNewTokens: 0 },
    ];
    const left: number[] = [];
    for (const options of variations) {
      await run(loaded().model, input, { maxNewTokens: 6, ...options });
      device().trim();
      left.push(device().memory.allocated - before);
    }
    expect(left).toEqual(variations.map(() => 0));
  });

  it('does not grow from question to question', async () => {
    const names = ['image', 'images', 'image', 'images', 'image'];
    const cases = await Promise.all(names.map((name) => readCase(loaded(), name)));
    const allocated: number[] = [];
    for (const { input } of cases) {
      await run(loaded().model, input, { maxNewTokens: 6 });
      allocated.push(device().memory.allocated);
    }
    expect(new Set(allocated.slice(2))).toEqual(new Set([allocated[1]]));
  });
});

import { expect, it } from 'vitest';
import { ModelAnswerer, type Question } from '../../src/eval/answerer.ts';
import { InputError } from '../../src/io/errors.ts';
import { loadLanguageModel } from '../../src/models/load.ts';
import { preparePictures, prepareText } from '../../src/models/prepare.ts';
import { loadPreprocessor } from '../../src/models/preprocessor.ts';
import { generate } from '../../src/models/qwen3_5/generate.ts';
import { Device } from '../../src/tensor/device.ts';
import { DeviceError } from '../../src/tensor/errors.ts';

const TINY = 'test/fixtures/spatialstack-tiny';
const LIMITS = { minPixels: 4096, maxPixels: 4096 };
const SETTINGS = { maxNewTokens: 6, temperature: 0, topP: 1 };

/** Two questions about one picture and one about another. */
async function questions(settings = SETTINGS): Promise<[Question, Question, Question]> {
  const preprocessor = await loadPreprocessor(TINY, LIMITS);
  const picture = (seed: number) => {
    const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * seed) % 251);
    return preparePictures(preprocessor, { images: [{ width: 64, height: 64, data }], geometryPreprocessing: 'raw' });
  };
  const [a, b] = [picture(3), picture(5)];
  const ask = async (pictures: typeof a, prompt: string): Promise<Question> => ({
    pictures,
    text: await prepareText(preprocessor, pictures, { prompt, addFrameIndex: false, enableThinking: false }),
    settings,
    seed: 7,
  });
  return [await ask(a, 'How many chairs?'), await ask(a, 'Where is the sofa?'), await ask(b, 'How many chairs?')];
}

/** An answerer of the tiny checkpoint; `beforeLook` is called before the encoders see pictures, `opened` counts devices. */
function tinyAnswerer(beforeLook: (look: number) => void): {
  answerer: ModelAnswerer;
  opened: () => number;
  looks: () => number;
} {
  let opened = 0;
  let looks = 0;
  const answerer = new ModelAnswerer(async () => {
    opened += 1;
    const device = await Device.open({ checked: true });
    const loaded = await loadLanguageModel(device, TINY, { dtype: 'float32', ...LIMITS });
    const { model } = loaded;
    const look: typeof model.look = (...parameters) => {
      looks += 1;
      beforeLook(looks);
      return model.look(...parameters);
    };
    const { text, config, precision } = model;
    const prefill: typeof model.prefill = (...parameters) => model.prefill(...parameters);
    const rehearse = () => model.rehearse();
    return { device, loaded: { ...loaded, model: { device, text, config, precision, look, prefill, rehearse } } };
  });
  return { answerer, opened: () => opened, looks: () => looks };
}

const signal = new AbortController().signal;

/** The text of an answer, or why there is none. */
async function textOf(answerer: ModelAnswerer, question: Question, stop = signal): Promise<string> {
  const outcome = await answerer.answer(question, stop);
  if (outcome.kind === 'answered') return outcome.text;
  return outcome.kind === 'failed' ? `failed: ${outcome.reason}` : outcome.kind;
}

it('looks once at pictures that questions share, and answers as without sharing', async () => {
  const asked = await questions();
  const { answerer, opened, looks } = tinyAnswerer(() => undefined);
  const texts: string[] = [];
  for (const question of asked) texts.push(await textOf(answerer, question));
  expect([opened(), looks()]).toEqual([1, 2]);

  const { loaded } = await answerer.open();
  for (const [i, { pictures, text }] of asked.entries()) {
    const ids: number[] = [];
    const options = { maxNewTokens: 6, stopTokens: [loaded.tokenizer.eosTokenId] };
    for await (const id of generate(loaded.model, { ...text, ...pictures }, options)) ids.push(id);
    expect(texts[i]).toBe(loaded.tokenizer.decode(ids, { skipSpecialTokens: true }));
  }
  answerer.close();
});

it('looks at the next pictures while it answers', async () => {
  const asked = await questions();
  const plain = tinyAnswerer(() => undefined);
  const texts: string[] = [];
  for (const question of asked) texts.push(await textOf(plain.answerer, question));
  plain.answerer.close();

  const { answerer, looks } = tinyAnswerer(() => undefined);
  const [first, second, third] = asked;
  expect(await textOf(answerer, { ...first, ahead: () => undefined })).toBe(texts[0]);
  expect(looks()).toBe(1);
  expect(await textOf(answerer, { ...second, ahead: () => third.pictures })).toBe(texts[1]);
  expect(looks()).toBe(2);
  expect(await textOf(answerer, third)).toBe(texts[2]);
  expect(looks()).toBe(2);
  answerer.close();
});

it('does not look ahead any more where the GPU failed with two sights', async () => {
  const [first, , third] = await questions();
  const failing = (looks: number) => {
    if (looks === 2) throw new DeviceError('the GPU is out of memory');
  };
  const { answerer, opened, looks } = tinyAnswerer(failing);
  expect(await textOf(answerer, { ...first, ahead: () => third.pictures })).not.toMatch(/^failed/);
  expect([opened(), looks()]).toEqual([2, 3]);
  expect(await textOf(answerer, third)).not.toMatch(/^failed/);
  expect(looks()).toBe(4);
  answerer.close();
});

it('draws the same, whatever was drawn before', async () => {
  const [first, second] = await questions({ ...SETTINGS, temperature: 1 });
  const { answerer } = tinyAnswerer(() => undefined);
  const text = await textOf(answerer, second);
  await textOf(answerer, first);
  expect(await textOf(answerer, second)).toBe(text);
  expect(await textOf(answerer, { ...second, seed: 8 })).not.toBe(text);
  answerer.close();
});

it('asks again after a lost GPU, once', async () => {
  const [question] = await questions();
  const lost = (looks: number[]) => (look: number) => {
    if (looks.includes(look)) throw new DeviceError('the GPU was lost: reset');
  };
  const well = tinyAnswerer(lost([]));
  const text = await textOf(well.answerer, question);
  well.answerer.close();

  const once = tinyAnswerer(lost([1]));
  expect(await textOf(once.answerer, question)).toBe(text);
  expect(once.opened()).toBe(2);
  once.answerer.close();

  const twice = tinyAnswerer(lost([1, 2]));
  expect(await textOf(twice.answerer, question)).toBe('failed: the GPU was lost: reset');
  expect(await textOf(twice.answerer, question)).toBe(text);
  expect(twice.opened()).toBe(3);
  twice.answerer.close();
});

it('goes on after documents that take too much memory', async () => {
  const [question, other] = await questions();
  const { answerer, opened } = tinyAnswerer((look) => {
    if (look <= 4) throw new DeviceError('the GPU is out of memory');
  });
  for (const _ of [1, 2, 3, 4]) expect(await textOf(answerer, question)).toBe('failed: the GPU is out of memory');
  expect(await textOf(answerer, other)).not.toMatch(/^failed/);
  expect(opened()).toBe(5);
  answerer.close();
});

it('gives up on a GPU that is lost again and again', async () => {
  const [question] = await questions();
  const { answerer, opened } = tinyAnswerer(() => {
    throw new DeviceError('the GPU was lost: reset');
  });
  expect(await textOf(answerer, question)).toBe('failed: the GPU was lost: reset');
  await expect(answerer.answer(question, signal)).rejects.toThrow('the GPU was lost: reset (3 times in a row)');
  expect(opened()).toBe(3);
});

it('refuses a prompt that does not fit, and goes on', async () => {
  const [question, other] = await questions();
  const { answerer, opened } = tinyAnswerer(() => undefined);
  const inputIds = new Int32Array(5000).fill(9);
  const long = { ...question, pictures: {}, text: { inputIds, positions: new Int32Array(15000), ropeDelta: 0 } };
  expect(await textOf(answerer, long)).toBe("failed: the prompt has 5000 tokens; this model's context holds 4096");
  expect(await textOf(answerer, other)).not.toMatch(/^failed/);
  expect(opened()).toBe(1);
  answerer.close();
});

it("does not take for a document's fault that there is no model", async () => {
  const [question] = await questions();
  const answerer = new ModelAnswerer(async () => {
    throw new InputError('model.safetensors is cut off.');
  });
  await expect(answerer.answer(question, signal)).rejects.toThrow(InputError);
});

it('says nothing when it is interrupted', async () => {
  const [question] = await questions();
  const { answerer } = tinyAnswerer(() => undefined);
  expect(await textOf(answerer, question, AbortSignal.abort())).toBe('interrupted');
  answerer.close();
});

import { type LoadedModel, loadLanguageModel } from '../models/load.ts';
import type { DtypeName } from '../models/precision.ts';
import { prepareInput } from '../models/prepare.ts';
import { Cache } from '../models/qwen3_5/cache.ts';
import { Decoder } from '../models/qwen3_5/decoder.ts';
import { generate } from '../models/qwen3_5/generate.ts';
import { processImages } from '../models/qwen3_5/image_processor.ts';
import type { ModelInput } from '../models/qwen3_5/input.ts';
import type { LanguageModel, Qwen35 } from '../models/qwen3_5/model.ts';
import { Sampler } from '../models/qwen3_5/sampler.ts';
import { SpatialStack } from '../models/spatialstack/model.ts';
import type { LoadProgress } from '../models/weights.ts';
import type { Device } from '../tensor/device.ts';
import { aggregatorWork } from './frames_work.ts';
import { type BenchedModel, counted, type ModelSizes, type ModelWork, noisePictures } from './model_work.ts';

/** Width and height of the vision tower's pictures, and of those in a prompt. */
const PICTURE = [512, 384] as const;
const PROMPT_PICTURE = [518, 392] as const;
const QUESTION = 'How many chairs are there in the room, and which of them is the closest to the door?';
/** Tokens that are decoded before timing starts, then windows that are timed, of so many tokens each; a software GPU has less patience. */
const DECODE = { lead: 32, windows: 3, tokens: 64 };
const SOFTWARE_DECODE = { lead: 3, windows: 1, tokens: 4 };

/** A prompt of random tokens of plain text. */
function randomPrompt({ config }: LanguageModel, tokens: number): ModelInput {
  const special = [config.image_token_id, config.video_token_id].filter((id) => id > 0);
  const most = Math.min(config.text.vocab_size, ...special);
  const inputIds = Int32Array.from({ length: tokens }, () => Math.floor(Math.random() * most));
  const positions = Int32Array.from({ length: 3 * tokens }, (_, i) => i % tokens);
  return { inputIds, positions, ropeDelta: 0 };
}

function tooLong({ config }: LanguageModel, tokens: number): string | undefined {
  const most = config.text.max_position_embeddings;
  return tokens > most ? `longer than the model's context of ${most} tokens` : undefined;
}

function prefillWork(model: LanguageModel, tokens: number): ModelWork {
  const { device } = model;
  return {
    name: 'prefill',
    shape: counted(tokens, 'token'),
    units: { count: tokens, unit: 'tokens' },
    refusal: tooLong(model, tokens),
    prepare: async () => {
      const cache = new Cache(device, model.config.text, model.precision, tokens);
      const input = randomPrompt(model, tokens);
      return {
        run: async () => {
          cache.length = 0;
          device.dispose(await model.prefill(input, cache, { lastOnly: true }));
        },
        release: () => cache.destroy(),
      };
    },
  };
}

/** A decoding step: as part of a generation when it is timed, alone when it is profiled. */
function decodeWork(model: LanguageModel, context: number): ModelWork {
  const { device, config } = model;
  const plan = device.opened.isSoftware ? SOFTWARE_DECODE : DECODE;
  const decoded = plan.lead + plan.windows * plan.tokens;
  return {
    name: 'decode',
    shape: `1 token after ${context}`,
    units: { count: 1, unit: 'tokens' },
    refusal: tooLong(model, context + decoded),
    prepare: async () => {
      // Room for the runs of a profile and more, as while generating: what a step attends to depends on it.
      const cache = new Cache(device, config.text, model.precision, context + decoded);
      const normed = await model.prefill(randomPrompt(model, context), cache, { lastOnly: true });
      device.dispose(normed);
      const sampler = new Sampler(device, config.text.vocab_size, new Int32Array(), undefined);
      const decoder = new Decoder(model, cache, sampler, { position: context, steps: decoded });
      device.tidy(() => decoder.begin(device.clear(device.tensor([1, config.text.hidden_size]))));
      return {
        run: async () => decoder.step(),
        release: () => {
          decoder.destroy();
          sampler.destroy();
          cache.destroy();
        },
      };
    },
    time: async () => {
      const arrivals: number[] = [];
      const options = { maxNewTokens: decoded, stopTokens: [] };
      for await (const _ of generate(model, randomPrompt(model, context), options)) arrivals.push(performance.now());
      const windows = Array.from({ length: plan.windows }, (_, i) => {
        const first = plan.lead - 1 + i * plan.tokens;
        return (arrivals[first + plan.tokens]! - arrivals[first]!) / plan.tokens;
      });
      return Math.min(...windows);
    },
  };
}

function visionWork(loaded: LoadedModel, qwen: Qwen35, count: number): ModelWork {
  const { device } = qwen;
  return {
    name: 'vision',
    shape: `${counted(count, 'picture')} of ${PICTURE.join('x')}`,
    units: { count, unit: 'pictures' },
    prepare: async () => {
      const pixels = processImages(noisePictures(count, ...PICTURE), loaded.processor.image);
      return {
        run: async () => {
          for (const rows of qwen.see(pixels)) device.dispose(rows);
        },
        release: () => undefined,
      };
    },
  };
}

/** From a prepared prompt to its first token on the CPU: all pictures, or plain text where there are none. */
function firstTokenWork(loaded: LoadedModel, pictures: number): ModelWork {
  const { model } = loaded;
  const shape =
    pictures === 0 ? 'a question' : `${counted(pictures, 'picture')} of ${PROMPT_PICTURE.join('x')} and a question`;
  return {
    name: 'first token',
    shape,
    prepare: async () => {
      const images = noisePictures(pictures, ...PROMPT_PICTURE);
      const options = { images, prompt: QUESTION, addFrameIndex: false, geometryPreprocessing: '518' } as const;
      const { input } = await prepareInput(loaded, options);
      return {
        run: async () => {
          for await (const _ of generate(model, input, { maxNewTokens: 1, stopTokens: [] }));
        },
        release: () => undefined,
      };
    },
  };
}

/** Loads a Qwen3.5 or SpatialStack. @throws InputError, DeviceError */
export async function loadLanguage(
  device: Device,
  path: string,
  dtype: DtypeName,
  sizes: ModelSizes,
  onProgress: LoadProgress,
): Promise<BenchedModel> {
  const loaded = await loadLanguageModel(device, path, { dtype, onProgress });
  const { model, kind } = loaded;
  const qwen = model instanceof SpatialStack ? model.qwen : (model as Qwen35);
  const spatial = model instanceof SpatialStack ? model : undefined;
  const pictures = qwen.visual === undefined ? [] : sizes.pictures;
  const { settings, vggt } = spatial ?? {};
  const aggregator = vggt?.aggregator;
  const geometry =
    aggregator === undefined || settings === undefined
      ? []
      : sizes.frames.map((count) => {
          const patch = settings.geometry_encoder_config.patch_size;
          return aggregatorWork(device, aggregator, settings.geometry_encoder_layers, count, patch);
        });
  const firstTokens = (pictures.length === 0 ? [0] : pictures).map((count) => firstTokenWork(loaded, count));
  return {
    kind,
    firstToken: firstTokens[0],
    works: [
      ...firstTokens,
      ...sizes.lengths.map((tokens) => prefillWork(model, tokens)),
      ...sizes.contexts.map((context) => decodeWork(model, context)),
      ...pictures.map((count) => visionWork(loaded, qwen, count)),
      ...geometry,
    ],
    close: loaded.close,
  };
}

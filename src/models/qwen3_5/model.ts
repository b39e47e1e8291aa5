import { InputError } from '../../io/errors.ts';
import { argmax } from '../../kernels/argmax.ts';
import { advance } from '../../kernels/cursor.ts';
import { scatterRows } from '../../kernels/rows.ts';
import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Observe, Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import { Cache } from './cache.ts';
import type { Qwen35Config } from './config.ts';
import { blackPictures, type Pixels } from './image_processor.ts';
import { forget, type ModelInput, type Phase, type Sight, tokenRows, type VisualInput } from './input.ts';
import { rotaryTable } from './positions.ts';
import { type ForwardOptions, TextModel } from './text.ts';
import { VisionTower } from './vision.ts';

/** How a prefill may be watched, and what of it is wanted. */
export interface PrefillOptions {
  readonly observe?: Observe | undefined;
  /** The caller wants the prompt's last row alone; the last layer then does little for the others. */
  readonly lastOnly?: boolean | undefined;
  /** Called when a phase is about to start; the GPU has then finished the one before. */
  readonly onPhase?: ((phase: Phase) => void) | undefined;
}

/** A model that turns prompts into hidden states and tokens: Qwen3.5 itself, or one with fusions around it. */
export interface LanguageModel {
  readonly device: Device;
  readonly config: Qwen35Config;
  readonly precision: Precision;
  readonly text: TextModel;
  /** Runs the encoders on a prompt's pictures. @returns what `prefill` takes as `input.sight`; `forget` it after use */
  look(input: VisualInput, options?: PrefillOptions): Promise<Sight>;
  /** Runs a whole prompt into an empty cache. @returns f32 [T, hidden_size] after the final norm, or [1, hidden_size] with `lastOnly`; dispose it after use */
  prefill(input: ModelInput, cache: Cache, options?: PrefillOptions): Promise<Tensor>;
  /** Goes through the motions of questions of several sizes, for `Device.rehearse`. */
  rehearse(): void;
}

/** Prompts whose lengths lead to different kernels: the sizes of products change tiles, short and long prompts other variants. */
const REHEARSED_PROMPTS = [40, 300, 1024, 8192];
/** And where no matrices are multiplied, the lowest tiles of products in registers. */
const REHEARSED_LOW_PROMPTS = [16, 32];
/** Patches of a rehearsed picture: 512 x 384 pixels. */
const REHEARSED_GRID = [24, 32] as const;

/** Qwen3.5: the language model and, unless the export is text only, the vision tower whose rows replace the placeholders' embeddings. */
export class Qwen35 implements LanguageModel {
  readonly device: Device;
  readonly text: TextModel;
  readonly visual: VisionTower | undefined;

  constructor(
    weights: Weights,
    readonly config: Qwen35Config,
    readonly precision: Precision,
  ) {
    this.device = weights.device;
    const prefix = config.model_type === 'qwen3_5_text' ? 'model' : 'model.language_model';
    const tied = config.tie_word_embeddings && !weights.has('lm_head.weight');
    this.text = new TextModel(weights, prefix, config.text, tied, precision);
    this.visual =
      config.vision === undefined ? undefined : new VisionTower(weights.at('model.visual'), config.vision, precision);
  }

  async look(input: VisualInput, { observe, onPhase }: PrefillOptions = {}): Promise<Sight> {
    if (input.images ?? input.videos) onPhase?.('vision');
    const images = input.images && this.see(input.images, { observe })[0]!;
    const videos = input.videos && this.see(input.videos, { observe })[0]!;
    if (onPhase !== undefined) await this.device.finish();
    return { images, videos, features: [] };
  }

  async prefill(input: ModelInput, cache: Cache, options: PrefillOptions = {}): Promise<Tensor> {
    const sight = input.sight ?? (await this.look(input, options));
    options.onPhase?.('prefill');
    const normed = this.decodePrompt(input, sight, cache, options);
    if (input.sight === undefined) forget(sight);
    return normed;
  }

  /** The vision tower on pictures or videos. @throws InputError for a text-only export */
  see(pixels: Pixels, options: { observe?: Observe | undefined; hiddenStates?: readonly number[] } = {}): Tensor[] {
    if (this.visual === undefined)
      throw new InputError('this checkpoint is a text-only export; it cannot take pictures or videos');
    return this.visual.forward(this.device, pixels, options);
  }

  /** Embeds the prompt, places the vision rows and runs the decoder. `visual` rows stay the caller's. */
  decodePrompt(
    { inputIds, positions }: ModelInput,
    visual: { images?: Tensor | undefined; videos?: Tensor | undefined },
    cache: Cache,
    options: Omit<ForwardOptions, 'place'> = {},
  ): Tensor {
    const { device, config } = this;
    return device.tidy(() => {
      const table = () =>
        device.upload(() => rotaryTable(positions, config.text), [inputIds.length, rotaryAngles(config), 2], 'f32');
      const h = this.text.embed(device.upload(inputIds, [inputIds.length], 'i32'));
      this.#place(h, inputIds, config.image_token_id, visual.images, 'pictures');
      this.#place(h, inputIds, config.video_token_id, visual.videos, 'videos');
      return this.text.forward(h, table, cache, options);
    });
  }

  rehearse(): void {
    const { device, text, config } = this;
    if (config.vision !== undefined) {
      for (const pictures of [1, 8]) {
        const images = this.see(blackPictures(pictures, REHEARSED_GRID, config.vision.patch_size))[0]!;
        const inputIds = new Int32Array(images.dim(0)).fill(config.image_token_id);
        const cache = new Cache(device, config.text, this.precision, inputIds.length);
        this.decodePrompt(
          { inputIds, positions: new Int32Array(3 * inputIds.length), ropeDelta: 0 },
          { images },
          cache,
          { lastOnly: true },
        );
      }
    }
    for (const tokens of [...(device.multipliesMatrices ? [] : REHEARSED_LOW_PROMPTS), ...REHEARSED_PROMPTS]) {
      const cache = new Cache(device, config.text, this.precision, tokens + 1);
      const input = { inputIds: new Int32Array(tokens).fill(-1), positions: new Int32Array(3 * tokens), ropeDelta: 0 };
      this.decodePrompt(input, {}, cache, { lastOnly: true });
      const cursor = device.tensor([2], 'u32');
      const table = device.tensor([1, rotaryAngles(config), 2]);
      const place = { cursor, reach: tokens + 1 };
      argmax(text.logits(text.forward(text.embed(device.tensor([1], 'i32')), table, cache, { place })));
      advance(cursor);
    }
  }

  #place(h: Tensor, inputIds: Int32Array, token: number, rows: Tensor | undefined, what: string): void {
    const at = tokenRows(inputIds, token);
    if (at.length !== (rows?.dim(0) ?? 0)) {
      throw new InputError(
        `the prompt has ${at.length} placeholder tokens for ${what}; the ${what} given take ${rows?.dim(0) ?? 0}`,
      );
    }
    if (rows !== undefined) scatterRows(h, this.device.upload(at, [at.length], 'i32'), rows);
  }
}

/** Rotary angles of a token. */
export function rotaryAngles({ text }: Qwen35Config): number {
  return text.rope_parameters.mrope_section.reduce((sum, count) => sum + count, 0);
}

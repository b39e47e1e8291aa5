import { advance, createCursor } from '../../kernels/cursor.ts';
import type { Recording } from '../../tensor/recording.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Cache } from './cache.ts';
import { type LanguageModel, rotaryAngles } from './model.ts';
import { rotaryTable } from './positions.ts';
import type { Sampler } from './sampler.ts';

/** A recorded step attends to whole multiples of this many tokens; one that would see more is recorded anew. */
const REACH = 1024;

/**
 * Decodes one sequence on the GPU alone: a step embeds the last token, runs the decoder and chooses the next token, all at places that a cursor in GPU
 * memory tells. It is worked out once and replayed, so that the CPU spends less on a step than the GPU does.
 */
export class Decoder {
  /** The token chosen last, i32 [1]. */
  readonly token: Tensor;
  readonly #cursor: Tensor;
  readonly #table: Tensor;
  #recording: Recording | undefined;
  #reach = 0;

  /**
   * @param cache holds the prompt
   * @param position rotary position of the token after the prompt
   * @param steps most steps that may be taken
   */
  constructor(
    readonly model: LanguageModel,
    readonly cache: Cache,
    readonly sampler: Sampler,
    { position, steps }: { position: number; steps: number },
  ) {
    const { device, config } = model;
    this.token = device.pooled([1], 'i32');
    this.#cursor = createCursor(device, { seen: cache.length, drawn: 0 });
    const rows = Math.max(1, steps);
    const positions = Int32Array.from({ length: 3 * rows }, (_, i) => position + (i % rows));
    this.#table = device.pooled([rows, rotaryAngles(config), 2], 'f32');
    device.write(this.#table, rotaryTable(positions, config.text));
  }

  /** Chooses the first token, after a prompt's last row, f32 [1, hidden_size] after the final norm. */
  begin(normed: Tensor): void {
    const { device, text } = this.model;
    device.tidy(() => this.#choose(text.logits(normed)));
  }

  /** Runs the last token and chooses the next one. */
  step(): void {
    const { device } = this.model;
    if (this.#recording === undefined || this.cache.length >= this.#reach) this.#record();
    device.replay(this.#recording!);
    this.cache.length += 1;
  }

  #record(): void {
    const { device, text } = this.model;
    if (this.#recording !== undefined) device.releaseRecording(this.#recording);
    this.#reach = Math.min(this.cache.capacity, Math.floor(this.cache.length / REACH + 1) * REACH);
    const place = { cursor: this.#cursor, reach: this.#reach };
    this.#recording = device.record(() => {
      const logits = text.logits(text.forward(text.embed(this.token), this.#table, this.cache, { place }));
      advance(this.#cursor);
      this.#choose(logits);
    });
  }

  #choose(logits: Tensor): void {
    this.sampler.choose(logits, this.#cursor, this.token);
  }

  /** Frees the GPU memory. */
  destroy(): void {
    const { device } = this.model;
    if (this.#recording !== undefined) device.releaseRecording(this.#recording);
    for (const tensor of [this.token, this.#cursor, this.#table]) device.dispose(tensor);
  }
}

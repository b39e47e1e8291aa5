import { argmax } from '../../kernels/argmax.ts';
import { GENERATED, IN_PROMPT, markTokens, type SamplingOptions, sampleToken } from '../../kernels/sample.ts';
import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** How the next token is drawn. */
export type Sampling = SamplingOptions;

/** Chooses tokens of one sequence on the GPU and remembers which occurred. */
export class Sampler {
  readonly #history: Tensor | undefined;

  constructor(
    readonly device: Device,
    vocabulary: number,
    promptIds: Int32Array,
    readonly options: Sampling | undefined,
  ) {
    if (options === undefined || (options.repetitionPenalty === 1 && options.presencePenalty === 0)) return;
    const history = device.clear(device.pooled([vocabulary], 'u32'));
    device.tidy(() => markTokens(history, device.upload(promptIds, [promptIds.length], 'i32'), IN_PROMPT));
    this.#history = history;
  }

  /** Writes the token after these logits, f32 [1, V], into `token`, i32 [1]; `cursor` counts the draws (kernels/cursor.ts). */
  choose(logits: Tensor, cursor: Tensor, token: Tensor): void {
    if (this.options === undefined) {
      argmax(logits, token);
      return;
    }
    const history = this.#history;
    sampleToken(logits, { options: this.options, cursor, ...(history && { history }) }, token);
    if (history !== undefined) markTokens(history, token, GENERATED);
  }

  /** Frees the GPU memory. */
  destroy(): void {
    if (this.#history !== undefined) this.device.dispose(this.#history);
  }
}

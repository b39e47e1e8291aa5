import { InputError } from '../io/errors.ts';
import type { LoadedModel } from '../models/load.ts';
import { generate } from '../models/qwen3_5/generate.ts';
import { forget, type Sight, type TextInput, type VisualInput } from '../models/qwen3_5/input.ts';
import type { Sampling } from '../models/qwen3_5/sampler.ts';
import type { Device } from '../tensor/device.ts';
import type { AnswerSettings } from './answer_settings.ts';

/** Answers questions about prepared pictures. */
export interface Answerer {
  /**
   * The model's text, or `undefined` if the run was interrupted meanwhile. Questions about the same pictures should follow one another and
   * pass the same object. @throws InputError for a question that cannot be answered; any other error ends the run
   */
  answer(question: Question, signal: AbortSignal): Promise<string | undefined>;
}

/** A prepared document and how it is to be answered. */
export interface Question {
  readonly pictures: VisualInput;
  readonly text: TextInput;
  readonly settings: AnswerSettings;
  /** Makes drawing repeatable, whichever process draws. */
  readonly seed: number;
}

/** A model on its device. */
export interface OpenModel {
  readonly device: Device;
  readonly loaded: LoadedModel;
}

/** A GPU that fails at so many documents in a row will fail at the next as well. */
const MOST_FAILURES = 3;

/**
 * A model that keeps what its encoders made of the last pictures. After a failure (out of memory, a lost GPU) the device is of no more use:
 * it is opened anew, the document counts as failed, unless the GPU was lost, which may not be its fault and is tried once more.
 */
export class ModelAnswerer implements Answerer {
  #model: OpenModel | undefined;
  #sight: { pictures: VisualInput; sight: Sight } | undefined;
  #failures = 0;

  constructor(readonly open: () => Promise<OpenModel>) {}

  async answer(question: Question, signal: AbortSignal): Promise<string | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        const text = await this.#answer(question, signal);
        this.#failures = 0;
        return text;
      } catch (error) {
        if (error instanceof InputError) throw error;
        await this.close();
        const message = error instanceof Error ? error.message : String(error);
        this.#failures += 1;
        if (this.#failures >= MOST_FAILURES) throw error;
        const isLost = message.startsWith('the GPU was lost');
        if (!isLost || attempt > 1) throw new InputError(message);
      }
    }
  }

  /** Gives the GPU back; the next answer opens it again. */
  async close(): Promise<void> {
    const model = this.#model;
    this.#model = undefined;
    this.#sight = undefined;
    await model?.loaded.close();
    model?.device.destroy();
  }

  async #answer({ pictures, text, settings, seed }: Question, signal: AbortSignal): Promise<string | undefined> {
    this.#model ??= await this.open();
    const { model, tokenizer, generation } = this.#model.loaded;
    const sight = pictures.images && (await this.#look(this.#model, pictures));
    const { maxNewTokens, temperature, topP } = settings;
    const drawn = {
      temperature,
      topP,
      topK: generation.top_k,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      seed,
    };
    const sampling: Sampling | undefined = temperature > 0 ? drawn : undefined;
    const stopTokens = [tokenizer.eosTokenId];
    const tokens = generate(model, { ...text, ...pictures, sight }, { maxNewTokens, stopTokens, sampling, signal });
    const ids: number[] = [];
    let next = await tokens.next();
    for (; !next.done; next = await tokens.next()) ids.push(next.value);
    return next.value === 'interrupted' ? undefined : tokenizer.decode(ids, { skipSpecialTokens: true });
  }

  /** What the encoders made of these pictures; memory of pictures of other sizes goes back first. */
  async #look({ device, loaded }: OpenModel, pictures: VisualInput): Promise<Sight> {
    if (this.#sight?.pictures === pictures) return this.#sight.sight;
    if (this.#sight !== undefined) {
      forget(this.#sight.sight);
      const size = (of: VisualInput) => JSON.stringify(of.images?.gridThw);
      if (size(this.#sight.pictures) !== size(pictures)) device.trim();
      this.#sight = undefined;
    }
    const sight = await loaded.model.look(pictures);
    this.#sight = { pictures, sight };
    return sight;
  }
}

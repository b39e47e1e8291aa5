import { setImmediate } from 'node:timers/promises';
import { InputError } from '../io/errors.ts';
import type { LoadedModel } from '../models/load.ts';
import { generate } from '../models/qwen3_5/generate.ts';
import { forget, type Sight, type TextInput, type VisualInput } from '../models/qwen3_5/input.ts';
import type { Sampling } from '../models/qwen3_5/sampler.ts';
import type { Device } from '../tensor/device.ts';
import type { AnswerSettings } from './answer_settings.ts';

/** What became of a question. */
export type Outcome =
  | { readonly kind: 'answered'; readonly text: string }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'interrupted' };

/** Answers questions about prepared pictures. */
export interface Answerer {
  /** Questions about the same pictures should follow one another and pass the same object. What this throws is no document's fault and ends the run. */
  answer(question: Question, signal: AbortSignal): Promise<Outcome>;
}

/** A prepared document and how it is to be answered. */
export interface Question {
  readonly pictures: VisualInput;
  readonly text: TextInput;
  readonly settings: AnswerSettings;
  /** Makes drawing repeatable, whichever process draws. */
  readonly seed: number;
  /** The pictures of the questions after this one, once they are ready: looked at meanwhile, so that the GPU does not wait for them to be sent. */
  readonly ahead?: () => VisualInput | undefined;
}

/** A model on its device. */
export interface OpenModel {
  readonly device: Device;
  readonly loaded: LoadedModel;
}

/** A GPU that was lost so many times in a row will be lost again. */
const MOST_LOSSES = 3;

/** What the encoders made of some pictures. */
interface Seen {
  readonly pictures: VisualInput;
  readonly sight: Sight;
}

/**
 * A model that keeps what its encoders made of the last pictures. After a failure (out of memory, a lost GPU) the device is of no more use and
 * is opened anew. The document counts as failed, unless that may not be its fault: a GPU was lost, or memory held the next pictures as well.
 * Then it is tried once more.
 */
export class ModelAnswerer implements Answerer {
  #model: OpenModel | undefined;
  #seen: Seen[] = [];
  #looksAhead = true;
  /** The current answer shares the GPU with the next pictures. */
  #lookedAhead = false;
  #losses = 0;

  constructor(readonly open: () => Promise<OpenModel>) {}

  async answer(question: Question, signal: AbortSignal): Promise<Outcome> {
    for (let attempt = 1; ; attempt++) {
      this.#model ??= await this.open();
      try {
        const outcome = await this.#answer(this.#model, question, signal);
        this.#losses = 0;
        return outcome;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (error instanceof InputError) return { kind: 'failed', reason };
        const lookedAhead = this.#lookedAhead;
        this.close();
        this.#looksAhead &&= !lookedAhead;
        const isLost = reason.startsWith('the GPU was lost');
        this.#losses = isLost ? this.#losses + 1 : 0;
        if (this.#losses >= MOST_LOSSES) throw new Error(`${reason} (${MOST_LOSSES} times in a row)`);
        if (attempt > 1 || !(isLost || lookedAhead)) return { kind: 'failed', reason };
      }
    }
  }

  /** Gives the GPU back; the next answer opens it again. */
  close(): void {
    this.#model?.device.destroy();
    this.#model = undefined;
    this.#seen = [];
  }

  async #answer(open: OpenModel, question: Question, signal: AbortSignal): Promise<Outcome> {
    const { pictures, text, settings, seed, ahead } = question;
    const { model, tokenizer, generation } = open.loaded;
    this.#lookedAhead = false;
    const sight = pictures.images && (await this.#look(open, pictures));
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
    const first = tokens.next();
    first.catch(() => undefined); // looking ahead may fail before anybody waits for it
    await this.#lookAhead(open, ahead);
    let next = await first;
    for (; !next.done; next = await tokens.next()) ids.push(next.value);
    if (next.value === 'interrupted') return { kind: 'interrupted' };
    return { kind: 'answered', text: tokenizer.decode(ids, { skipSpecialTokens: true }) };
  }

  /** What the encoders made of these pictures; what they made of others is forgotten, memory of other sizes goes back first. */
  async #look({ device, loaded }: OpenModel, pictures: VisualInput): Promise<Sight> {
    const seen = this.#seen.find((one) => one.pictures === pictures);
    const others = this.#seen.filter((one) => one !== seen);
    for (const { sight } of others) forget(sight);
    this.#seen = seen === undefined ? [] : [seen];
    const size = (of: VisualInput) => JSON.stringify(of.images?.gridThw);
    if (others.some((one) => size(one.pictures) !== size(pictures))) device.trim();
    return seen?.sight ?? this.#see(loaded, pictures);
  }

  /** Looks at the next pictures once the GPU is busy with the prompt. A refusal is for their own turn. */
  async #lookAhead({ loaded }: OpenModel, ahead: Question['ahead']): Promise<void> {
    if (!this.#looksAhead) return;
    await setImmediate();
    const pictures = ahead?.();
    if (pictures?.images === undefined || this.#seen.some((one) => one.pictures === pictures)) return;
    this.#lookedAhead = true;
    await this.#see(loaded, pictures).catch((error: unknown) => {
      if (!(error instanceof InputError)) throw error;
    });
  }

  async #see(loaded: LoadedModel, pictures: VisualInput): Promise<Sight> {
    const sight = await loaded.model.look(pictures);
    this.#seen.push({ pictures, sight });
    return sight;
  }
}

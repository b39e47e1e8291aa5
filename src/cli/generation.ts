import { TextStream } from '../io/text_stream.ts';
import type { LoadedModel } from '../models/load.ts';
import { type FinishReason, generate } from '../models/qwen3_5/generate.ts';
import type { ModelInput, Phase } from '../models/qwen3_5/input.ts';
import type { Sampling } from '../models/qwen3_5/sampler.ts';

/** Milliseconds that the parts of an answer took. */
export type PhaseTimings = Record<Phase | 'decode', number>;

/** A finished or interrupted answer. */
export interface Answer {
  readonly ids: readonly number[];
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly timings: PhaseTimings;
}

/** How to answer, and who is told about it. */
export interface AnswerOptions {
  readonly maxNewTokens: number;
  readonly sampling: Sampling | undefined;
  readonly signal: AbortSignal;
  readonly onPhase: (phase: Phase | 'decode') => void;
  /** Receives the text as it becomes complete, special tokens left out. */
  readonly onText: (text: string) => void;
}

/** Generates the answer to a prepared prompt, streaming its text, and times the phases. */
export async function answer(loaded: LoadedModel, input: ModelInput, options: AnswerOptions): Promise<Answer> {
  const timings: PhaseTimings = { vision: 0, geometry: 0, prefill: 0, decode: 0 };
  let current: { phase: Phase | 'decode'; start: number } | undefined;
  const endPhase = () => {
    if (current !== undefined) timings[current.phase] += performance.now() - current.start;
  };
  const onPhase = (phase: Phase | 'decode') => {
    endPhase();
    current = { phase, start: performance.now() };
    options.onPhase(phase);
  };
  const { maxNewTokens, sampling, signal } = options;
  const stopTokens = loaded.generation.eos_token_ids;
  const tokens = generate(loaded.model, input, { maxNewTokens, stopTokens, sampling, signal, onPhase });
  const stream = new TextStream(loaded.tokenizer, { skipSpecialTokens: true });
  const ids: number[] = [];
  let text = '';
  const emit = (piece: string) => {
    text += piece;
    if (piece !== '') options.onText(piece);
  };
  let next = await tokens.next();
  for (; !next.done; next = await tokens.next()) {
    ids.push(next.value);
    emit(stream.push(next.value));
  }
  endPhase();
  emit(stream.end());
  return { ids, text, finishReason: next.value, timings };
}

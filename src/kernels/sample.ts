import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { mergeCandidates } from './argmax.ts';
import { expectDtype, expectShape } from './checks.ts';

/** How the next token is chosen, applied in this order, with the names and meanings of Hugging Face transformers. */
export interface SamplingOptions {
  /** Logits of tokens seen in the prompt or the output are divided by it where positive, multiplied where negative; 1 is off. */
  readonly repetitionPenalty: number;
  /** Subtracted from the logits of tokens generated before; 0 is off. */
  readonly presencePenalty: number;
  /** Divides the logits; 0 takes the largest instead of drawing. */
  readonly temperature: number;
  /** Keep the logits that are at least the k-th largest; 0 is off. */
  readonly topK: number;
  /** Keep the fewest most probable tokens whose probabilities sum to at least this, never parting equal ones; 1 is off. */
  readonly topP: number;
  /** Keep tokens at least this many times as probable as the most probable one; 0 is off. */
  readonly minP: number;
  /** A whole number from 0 to 2^53 - 1. */
  readonly seed: number;
}

/** What one draw depends on besides the logits. */
export interface SamplingState {
  readonly options: SamplingOptions;
  /** Says the number of the draw, which with the seed determines the noise (kernels/cursor.ts). */
  readonly cursor: Tensor;
  /** u32 [V], filled by `markTokens`; needed while a penalty is on. */
  readonly history?: Tensor;
}

/** What a draw was made from, to look into. */
export interface SamplingDetails {
  /** i32 [1]. */
  readonly token: Tensor;
  /** u32 [V rounded up to 4]: images of the penalised logits in the same order; 0 for NaN, -infinity and beyond V. */
  readonly keys: Tensor;
  /** u32 [1]: the tokens with keys at least this were kept. */
  readonly threshold: Tensor;
}

/** Flags of a token in a history. */
export const IN_PROMPT = 1;
export const GENERATED = 2;

/** Tokens of one workgroup: a vector of four for each thread to prepare, four vectors to search. */
const PREPARED = 1024;
const SEARCHED = 4096;
/** Digits of 8 bits in a key. */
const DIGITS = 4;
/** Words of wgsl/sample/state.wgsl for both searches. */
const STATE_WORDS = 64 + 2 * DIGITS * 512;
/** ln(minP) while min-p is off. */
const NO_MINIMUM = -3e38;

/** Sets `flag` (IN_PROMPT, GENERATED) for token ids, i32 [n], in a history, u32 [V]; ids outside of it are passed over. */
export function markTokens(history: Tensor, ids: Tensor, flag: number): void {
  if (history.dtype !== 'u32' || ids.dtype !== 'i32') {
    throw new KernelError(`sample: history ${history.dtype} [${history.shape}], ids ${ids.dtype} [${ids.shape}]`);
  }
  if (ids.size === 0) return;
  ids.device.run({
    kernel: 'sample/mark',
    bindings: [ids, history],
    params: { count: ids.size, vocabulary: history.size, flag },
    workgroups: grid(Math.ceil(ids.size / 64)),
  });
}

/**
 * Chooses a token on the GPU, without sorting and without a readback: penalties, thresholds by radix selection, then a Gumbel-max draw.
 * One seed gives one sequence of draws on one device. Where every logit is NaN or -infinity it is -1.
 * @param logits f32 [1, V]
 * @param into i32 [1] that receives the token; a new tensor unless given
 * @returns i32 [1]
 */
export function sampleToken(logits: Tensor, state: SamplingState, into?: Tensor): Tensor {
  return logits.device.tidy(() => sampleWithDetails(logits, state, into).token);
}

/** As `sampleToken`, with what the draw was made from. */
export function sampleWithDetails(logits: Tensor, state: SamplingState, into?: Tensor): SamplingDetails {
  const { options, history } = state;
  checkOperands(logits, state);
  if (into !== undefined) {
    expectDtype('sample', 'the token', into, 'i32');
    expectShape('sample', 'the token', into, [1]);
  }
  const { device } = logits;
  const count = logits.dim(1);
  const quads = Math.ceil(count / 4);
  const workgroups = [Math.ceil(count / SEARCHED)];
  const details = {
    token: into ?? device.tensor([1], 'i32'),
    keys: device.tensor([quads * 4], 'u32'),
    threshold: device.tensor([1], 'u32'),
  };
  device.tidy(() => {
    const search = device.clear(device.tensor([STATE_WORDS], 'u32'));
    device.run({
      kernel: 'sample/prepare',
      constants: { PENALISE: isPenalised(options) },
      bindings: [logits, history ?? logits, details.keys, search],
      params: { count, repetition: options.repetitionPenalty, presence: options.presencePenalty },
      workgroups: [Math.ceil(count / PREPARED)],
    });

    const { temperature, topK, topP, minP } = options;
    const isGreedy = temperature === 0;
    const searches = isGreedy ? [] : [...(topK > 0 && topK < count ? [false] : []), ...(topP < 1 ? [true] : [])];
    let step = 0;
    for (const isTopP of searches) {
      for (let digit = 0; digit < DIGITS; digit++) {
        device.run({
          kernel: 'sample/select',
          constants: { MASS: isTopP },
          bindings: [details.keys, search],
          params: { quads, step, digit, k: topK, p: topP, temperature },
          workgroups,
        });
        step += 1;
      }
    }

    const candidates = device.tensor([1, workgroups[0]!, 2], 'u32');
    device.run({
      kernel: 'sample/draw',
      bindings: [details.keys, search, candidates, details.threshold, state.cursor],
      params: {
        quads,
        steps: step,
        temperature,
        min_log: minP > 0 && !isGreedy ? Math.log(minP) : NO_MINIMUM,
        seed_low: options.seed % 2 ** 32,
        seed_high: Math.floor(options.seed / 2 ** 32),
      },
      workgroups,
    });
    mergeCandidates(candidates, details.token);
  });
  return details;
}

function isPenalised({ repetitionPenalty, presencePenalty }: SamplingOptions): boolean {
  return repetitionPenalty !== 1 || presencePenalty !== 0;
}

function checkOperands(logits: Tensor, { options, cursor, history }: SamplingState): void {
  const count = logits.shape[1] ?? 0;
  if (logits.dtype !== 'f32' || logits.shape.length !== 2 || logits.dim(0) !== 1 || count === 0) {
    throw new KernelError(`sample: logits ${logits.dtype} [${logits.shape}] are not f32 [1, V]`);
  }
  if (cursor.dtype !== 'u32' || cursor.size !== 2)
    throw new KernelError(`sample: cursor ${cursor.dtype} [${cursor.shape}]`);
  if (history !== undefined && (history.dtype !== 'u32' || history.size !== count)) {
    throw new KernelError(`sample: history ${history.dtype} [${history.shape}] for ${count} logits`);
  }
  if (history === undefined && isPenalised(options)) throw new KernelError('sample: penalties need a history');
  const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, seed } = options;
  const isUsable =
    (temperature === 0 || (temperature >= 1e-6 && temperature <= 1e6)) &&
    Number.isInteger(topK) &&
    topK >= 0 &&
    topP > 0 &&
    topP <= 1 &&
    minP >= 0 &&
    minP <= 1 &&
    repetitionPenalty > 0 &&
    Number.isFinite(presencePenalty) &&
    Number.isSafeInteger(seed) &&
    seed >= 0;
  if (!isUsable) throw new KernelError(`sample: options out of range: ${JSON.stringify(options)}`);
}

import type { SamplingOptions } from '../../src/kernels/sample.ts';

/** What a draw is made from, by a full sort in double. */
export interface SampleReference {
  /** Logits after the penalties. */
  readonly logits: Float64Array;
  /** Which tokens may be drawn. */
  readonly kept: boolean[];
  /** Their probabilities, 0 for the others. */
  readonly probabilities: Float64Array;
  /** Largest penalised logit, the lowest index among equals. */
  readonly greedy: number;
}

/** The distribution from which transformers would draw: its logits processors in their order. `history`: bit 0 prompt, bit 1 generated. */
export function sampleReference(
  raw: Float32Array,
  options: SamplingOptions,
  history = new Uint32Array(raw.length),
): SampleReference {
  const logits = Float64Array.from(raw, (value, i) => {
    let logit = Number.isNaN(value) ? -Infinity : Math.min(value, 3.4028234663852886e38);
    if (history[i] !== 0) logit = logit < 0 ? logit * options.repetitionPenalty : logit / options.repetitionPenalty;
    if ((history[i]! & 2) !== 0) logit -= options.presencePenalty;
    return Math.fround(logit);
  });
  const sorted = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const greedy = sorted[0]!;
  const largest = logits[greedy]!;
  const weight = (i: number) => Math.exp((logits[i]! - largest) / (options.temperature || 1));

  let kept = sorted.filter((i) => logits[i]! > -Infinity);
  if (options.topK > 0 && options.topK < raw.length) {
    const least = logits[sorted[options.topK - 1]!]!;
    kept = kept.filter((i) => logits[i]! >= least);
  }
  if (options.topP < 1) {
    const total = kept.reduce((sum, i) => sum + weight(i), 0);
    let last = 0;
    for (let sum = weight(kept[0]!); last + 1 < kept.length && sum < options.topP * total; sum += weight(kept[last]!))
      last += 1;
    const least = logits[kept[last]!]!;
    kept = kept.filter((i) => logits[i]! >= least);
  }
  kept = kept.filter((i) => weight(i) >= options.minP);

  const total = kept.reduce((sum, i) => sum + weight(i), 0);
  const probabilities = new Float64Array(raw.length);
  const isKept = Array<boolean>(raw.length).fill(false);
  for (const i of kept) {
    probabilities[i] = weight(i) / total;
    isKept[i] = true;
  }
  return { logits, kept: isKept, probabilities, greedy };
}

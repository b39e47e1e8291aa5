import type { FrameImages } from '../vggt/aggregator.ts';
import type { Patches } from './image_processor.ts';

/** One prompt as the models take it. */
export interface ModelInput {
  readonly inputIds: Int32Array;
  /** Time, row and column positions [3, T] (spec qwen3_5_vision.md 6.2). */
  readonly positions: Int32Array;
  /** A generated token at index n has position n + ropeDelta on all three axes. */
  readonly ropeDelta: number;
  readonly images?: Patches | undefined;
  readonly videos?: Patches | undefined;
  /** The pictures again, as the geometry encoder takes them. */
  readonly geometry?: FrameImages | undefined;
}

/** Parts of a prefill that are timed and reported one by one. */
export type Phase = 'vision' | 'geometry' | 'prefill';

/** Indices of the tokens equal to `id`. */
export function tokenRows(inputIds: Int32Array, id: number): Int32Array {
  const rows: number[] = [];
  inputIds.forEach((token, i) => {
    if (token === id) rows.push(i);
  });
  return Int32Array.from(rows);
}

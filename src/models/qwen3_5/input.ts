import type { Tensor } from '../../tensor/tensor.ts';
import type { FrameImages } from '../vggt/aggregator.ts';
import type { Pixels } from './image_processor.ts';

/** The pictures of a prompt as the models take them. */
export interface VisualInput {
  readonly images?: Pixels | undefined;
  readonly videos?: Pixels | undefined;
  /** The pictures again, as the geometry encoder takes them. */
  readonly geometry?: FrameImages | undefined;
}

/** The text of a prompt, with placeholders for its pictures, as the models take it. */
export interface TextInput {
  readonly inputIds: Int32Array;
  /** Time, row and column positions [3, T] (spec qwen3_5_vision.md 6.2). */
  readonly positions: Int32Array;
  /** A generated token at index n has position n + ropeDelta on all three axes. */
  readonly ropeDelta: number;
}

/** One prompt. `sight`: what `look` made of the same pictures, which spares looking at them again; it stays the caller's. */
export interface ModelInput extends TextInput, VisualInput {
  readonly sight?: Sight | undefined;
}

/** What a model's encoders made of a prompt's pictures; it stays on the GPU, for every prompt that shows them, until its tensors are disposed of. */
export interface Sight {
  /** Rows that take the places of the placeholders. */
  readonly images?: Tensor | undefined;
  readonly videos?: Tensor | undefined;
  /** What is added after decoder layers. */
  readonly features: readonly Tensor[];
}

/** Gives a sight's memory back. */
export function forget({ images, videos, features }: Sight): void {
  const tensors = [images, videos, ...features].filter((tensor) => tensor !== undefined);
  for (const tensor of new Set(tensors)) tensor.device.dispose(tensor);
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

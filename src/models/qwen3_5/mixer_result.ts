import type { Tensor } from '../../tensor/tensor.ts';

/** What is wanted of a layer's mixer. */
export interface MixerResult {
  /** f32, added to the result. */
  readonly residual?: Tensor | undefined;
  /** The result of the last token alone, [1, hidden_size]; the others only leave their trace in the mixer's state. */
  readonly lastOnly?: boolean | undefined;
}

import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape } from './checks.ts';

/** What is known about N tracks in S frames; everything f32. */
export interface TrackState {
  /** [N, S, 2] as (x, y). */
  readonly coords: Tensor;
  /** [N, S, C]: correlations around each track. */
  readonly corr: Tensor;
  /** [N, S, C]: what each track looks like. */
  readonly features: Tensor;
  /** [N, 3 C + 4]: embedding of each track's place in the first frame. */
  readonly positions: Tensor;
  /** [2, 3 C + 4]: added in the first frame, and in all others. */
  readonly reference: Tensor;
  /** Divisor of the movement. */
  readonly maxScale: number;
}

/**
 * Tokens [N, S, 3 C + 4] f32 of the track update transformer: movement since the first frame (embedded and plain), correlations and
 * features, plus position and reference embeddings (spec vggt.md section 7.3). @throws KernelError
 */
export function trackTokens({ maxScale, ...tensors }: TrackState): Tensor {
  const { coords, corr, features, positions, reference } = tensors;
  if (corr.shape.length !== 3 || corr.dim(2) % 4 !== 0) {
    throw new KernelError(`trackTokens: corr is ${described(corr)}; expected [N, S, C] with C a multiple of 4`);
  }
  const [tracks, frames, channels] = corr.shape as [number, number, number];
  const width = 3 * channels + 4;
  for (const [name, tensor] of Object.entries(tensors)) expectDtype('trackTokens', name, tensor, 'f32');
  expectShape('trackTokens', 'coords', coords, [tracks, frames, 2]);
  expectShape('trackTokens', 'features', features, corr.shape);
  expectShape('trackTokens', 'positions', positions, [tracks, width]);
  expectShape('trackTokens', 'reference', reference, [2, width]);
  const out = corr.device.tensor([tracks, frames, width]);
  corr.device.run({
    kernel: 'track_tokens/track_tokens',
    bindings: [coords, corr, features, positions, reference, out],
    params: { tracks, frames, channels, max_scale: maxScale },
    workgroups: grid(Math.ceil(out.size / 256)),
    work: () => ({ flops: 10 * out.size }),
  });
  return out;
}

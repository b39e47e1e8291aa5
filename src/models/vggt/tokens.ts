import { stridedCopy } from '../../kernels/strided_copy.ts';
import { DTYPE_BYTES } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { rowSlices } from './slices.ts';

/** A run of tokens inside every frame of a tensor of f32 tokens. */
export interface TokenRun {
  readonly tensor: Tensor;
  /** Tokens from one frame to the next; 0 reads the same tokens for every frame. */
  readonly perFrame: number;
  /** First token of the run within its frame. */
  readonly first: number;
}

/** Copies `count` tokens of each of `frames` frames; a token is as wide as the target's last dimension. */
export function copyTokens(source: TokenRun, target: TokenRun, frames: number, count: number): void {
  const dim = target.tensor.dim(-1);
  stridedCopy(source.tensor, target.tensor, {
    sizes: [1, frames, count, dim],
    sourceStrides: [0, source.perFrame * dim, dim, 1],
    sourceOffset: source.first * dim,
    targetStrides: [0, target.perFrame * dim, dim, 1],
    targetOffset: target.first * dim,
  });
}

/** Concatenates tokens a and b, both [T, C] f32, on the channels: [T, 2 * C], which may be larger than what can be bound. */
export function concatChannels(a: Tensor, b: Tensor): Tensor {
  const { device } = a;
  const [tokens, dim] = [a.dim(0), a.dim(1)];
  const joined = device.tensor([tokens, 2 * dim]);
  for (const { start, count } of rowSlices(device, tokens, 2 * dim * DTYPE_BYTES.f32)) {
    [a, b].forEach((half, index) => {
      stridedCopy(half.rows(start, count), joined.rows(start, count), {
        sizes: [1, 1, count, dim],
        sourceStrides: [0, 0, dim, 1],
        targetStrides: [0, 0, 2 * dim, 1],
        targetOffset: index * dim,
      });
    });
  }
  return joined;
}

import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape, type ResultDtype } from './checks.ts';

/** What to compute of the resized picture, and what to add to it. */
export interface ResizeOptions {
  /** Rows of the resized picture; all unless given. */
  readonly rows?: { readonly first: number; readonly count: number };
  /**
   * A position embedding [width + height, C / 2] f32: the row of a pixel's column is added to the first half of its channels, and then the
   * row `width +` its row to the second half.
   */
  readonly positions?: Tensor;
  readonly dtype?: ResultDtype;
}

/** Distance of neighbouring target pixels in the source when the corners meet, in float32 as PyTorch computes it. */
function scale(from: number, to: number): number {
  return to === 1 ? 0 : Math.fround((from - 1) / (to - 1));
}

/**
 * Bilinear interpolation with aligned corners, channels last: x [S, H, W, C] f32, C a multiple of 4 (of 8 for an f16 result), to
 * [S, height (or rows.count), width, C].
 * @throws KernelError
 */
export function resizeBilinear(
  x: Tensor,
  [height, width]: readonly [number, number],
  options: ResizeOptions = {},
): Tensor {
  const { rows = { first: 0, count: height }, positions, dtype = 'f32' } = options;
  expectDtype('resizeBilinear', 'x', x, 'f32');
  const stored = dtype === 'f16' ? 8 : 4;
  if (x.shape.length !== 4 || x.dim(3) % stored !== 0) {
    throw new KernelError(`resizeBilinear: x is ${described(x)}; expected [S, H, W, C] with C a multiple of ${stored}`);
  }
  if (rows.first < 0 || rows.count < 1 || rows.first + rows.count > height) {
    throw new KernelError(`resizeBilinear: rows ${rows.first} to ${rows.first + rows.count} of ${height}`);
  }
  const [frames, sourceHeight, sourceWidth, channels] = x.shape as [number, number, number, number];
  if (positions !== undefined) expectShape('resizeBilinear', 'positions', positions, [width + height, channels / 2]);
  const out = x.device.tensor([frames, rows.count, width, channels], dtype);
  x.device.run({
    kernel: 'resize_bilinear/resize_bilinear',
    constants: { CHANNELS: channels, HAS_POSITIONS: positions !== undefined, OUT_F16: dtype === 'f16' },
    bindings: [x, positions ?? x, out],
    params: {
      height: sourceHeight,
      width: sourceWidth,
      out_height: rows.count,
      out_width: width,
      first_row: rows.first,
      scale_y: scale(sourceHeight, height),
      scale_x: scale(sourceWidth, width),
    },
    workgroups: [Math.ceil((width * channels) / stored / 256), rows.count, frames],
    work: () => ({ flops: 9 * out.size }),
  });
  return out;
}

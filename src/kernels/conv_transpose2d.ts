import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape, type ResultDtype } from './checks.ts';
import { convert } from './elementwise.ts';
import { linear } from './matmul.ts';
import { permute } from './permute.ts';
import { stridedCopy } from './strided_copy.ts';

/** How to convolve. */
export interface ConvTranspose2dOptions {
  /** [O] f32. */
  readonly bias: Tensor;
  /** f16 rounds the operands of the product, which then runs on subgroup matrices where the device has them. */
  readonly operand?: ResultDtype;
}

/**
 * Transposed convolution whose stride is its kernel's size k, channels last: x [S, H, W, C] f32, weight [C, O, k, k] as PyTorch stores it,
 * result [S, k * H, k * W, O] f32 with out[s, k y + dy, k x + dx, o] = bias[o] + sum_c x[s, y, x, c] * weight[c, o, dy, dx]. The blocks do not overlap, so
 * this is one matrix product with k * k * O columns, whose result is then laid out (a pixel shuffle; Shi et al. 2016). @throws KernelError
 */
export function convTranspose2d(x: Tensor, weight: Tensor, { bias, operand = 'f32' }: ConvTranspose2dOptions): Tensor {
  const { device } = x;
  expectDtype('convTranspose2d', 'x', x, 'f32');
  if (
    x.shape.length !== 4 ||
    weight.shape.length !== 4 ||
    weight.dim(0) !== x.dim(3) ||
    weight.dim(2) !== weight.dim(3)
  ) {
    throw new KernelError(`convTranspose2d: x ${described(x)} does not fit weight ${described(weight)}`);
  }
  const [frames, height, width, channels] = x.shape as [number, number, number, number];
  const [, outputs, k] = weight.shape as [number, number, number];
  expectShape('convTranspose2d', 'bias', bias, [outputs]);
  const blocks = k * k * outputs;
  return device.tidy(() => {
    const out = device.tensor([frames, k * height, k * width, outputs]);
    const w = permute(weight.reshape(channels, outputs, k * k), [2, 1, 0], operand).reshape(blocks, channels);
    const repeated = device.tensor([blocks]);
    stridedCopy(bias, repeated, {
      sizes: [1, 1, k * k, outputs],
      sourceStrides: [0, 0, 0, 1],
      targetStrides: [0, 0, outputs, 1],
    });
    const rows = x.reshape(frames * height * width, channels);
    const product = linear(operand === 'f16' ? convert(rows, 'f16') : rows, w, { bias: repeated });
    const row = k * outputs;
    stridedCopy(product, out, {
      sizes: [frames * height, k, width, row],
      sourceStrides: [width * blocks, row, blocks, 1],
      targetStrides: [k * width * row, width * row, row, 1],
    });
    return out;
  });
}

import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape } from './checks.ts';
import { convert } from './elementwise.ts';
import { linear } from './matmul.ts';
import type { Permutation } from './permute.ts';
import { stridedCopy } from './strided_copy.ts';

/** A weight [C, O, k, k], as PyTorch stores it, as the matrix of `convTranspose2d`: a row for each place of a block and each output. */
export function blocksFirst([channels, outputs, kernel]: readonly number[]): Permutation {
  const [c, o, k] = [channels!, outputs!, kernel!];
  return { from: [c, o, k * k], order: [2, 1, 0], shape: [k, k, o, c] };
}

/**
 * Transposed convolution whose stride is its kernel's size k, channels last: x [S, H, W, C] f32, weight [k, k, O, C] f32 or f16 (see `blocksFirst`), bias [O]
 * f32, result [S, k * H, k * W, O] f32 with out[s, k y + dy, k x + dx, o] = bias[o] + sum_c x[s, y, x, c] * weight[dy, dx, o, c]. A weight in f16 has x
 * rounded, too, and the product runs on subgroup matrices where the device has them. The blocks do not overlap, so this is one matrix product with k * k * O
 * columns, whose result is then laid out (a pixel shuffle; Shi et al. 2016). @throws KernelError
 */
export function convTranspose2d(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const { device } = x;
  expectDtype('convTranspose2d', 'x', x, 'f32');
  expectDtype('convTranspose2d', 'weight', weight, 'f32', 'f16');
  if (
    x.shape.length !== 4 ||
    weight.shape.length !== 4 ||
    weight.dim(3) !== x.dim(3) ||
    weight.dim(0) !== weight.dim(1)
  ) {
    throw new KernelError(`convTranspose2d: x ${described(x)} does not fit weight ${described(weight)}`);
  }
  const [frames, height, width, channels] = x.shape as [number, number, number, number];
  const [k, , outputs] = weight.shape as [number, number, number];
  expectShape('convTranspose2d', 'bias', bias, [outputs]);
  const blocks = k * k * outputs;
  return device.tidy(() => {
    const out = device.tensor([frames, k * height, k * width, outputs]);
    const repeated = device.tensor([blocks]);
    stridedCopy(bias, repeated, {
      sizes: [1, 1, k * k, outputs],
      sourceStrides: [0, 0, 0, 1],
      targetStrides: [0, 0, outputs, 1],
    });
    const rows = x.reshape(frames * height * width, channels);
    const product = linear(weight.dtype === 'f16' ? convert(rows, 'f16') : rows, weight.reshape(blocks, channels), {
      bias: repeated,
    });
    const row = k * outputs;
    stridedCopy(product, out, {
      sizes: [frames * height, k, width, row],
      sourceStrides: [width * blocks, row, blocks, 1],
      targetStrides: [k * width * row, width * row, row, 1],
    });
    return out;
  });
}

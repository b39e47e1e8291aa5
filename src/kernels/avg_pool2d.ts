import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype } from './checks.ts';

/**
 * Means of 2x2 pixels, channels last: x [S, H, W, C] f32, C a multiple of 4, to [S, floor(H / 2), floor(W / 2), C]; an odd last row or column is
 * dropped. @throws KernelError
 */
export function avgPool2d(x: Tensor): Tensor {
  expectDtype('avgPool2d', 'x', x, 'f32');
  if (x.shape.length !== 4 || x.dim(3) % 4 !== 0 || x.dim(1) < 2 || x.dim(2) < 2) {
    throw new KernelError(
      `avgPool2d: x is ${described(x)}; expected [S, H, W, C] with sides of at least 2 and C a multiple of 4`,
    );
  }
  const [frames, height, width, channels] = x.shape as [number, number, number, number];
  const out = x.device.tensor([frames, Math.floor(height / 2), Math.floor(width / 2), channels]);
  const count = out.size / 4;
  x.device.run({
    kernel: 'avg_pool2d/avg_pool2d',
    bindings: [x, out],
    params: { count, height, width, channels },
    workgroups: grid(Math.ceil(count / 256)),
    work: () => ({ flops: x.size }),
  });
  return out;
}

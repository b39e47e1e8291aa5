import { grid } from '../tensor/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { expectDtype, expectShape } from './checks.ts';

/**
 * x + gate * (normed * (1 + scale) + shift), an adaptive layer norm's end (Peebles and Xie 2023): x and normed [T, D] f32, modulation [T, 3 D] f32
 * with shift, scale and gate side by side. @throws KernelError
 */
export function modulate(x: Tensor, normed: Tensor, modulation: Tensor): Tensor {
  const [tokens, dim] = [x.dim(0), x.dim(-1)];
  for (const [name, tensor, width] of [
    ['x', x, dim],
    ['normed', normed, dim],
    ['modulation', modulation, 3 * dim],
  ] as const) {
    expectDtype('modulate', name, tensor, 'f32');
    expectShape('modulate', name, tensor, [tokens, width]);
  }
  const y = x.device.tensor(x.shape);
  x.device.run({
    kernel: 'modulate/modulate',
    bindings: [x, normed, modulation, y],
    params: { count: x.size, dim },
    workgroups: grid(Math.ceil(x.size / 256)),
    work: () => ({ flops: 4 * x.size }),
  });
  return y;
}

import { grid } from '../tensor/device.ts';
import { BLOCK_COLUMNS } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { OperandDtype } from './blocks.ts';
import { described, expectDtype, expectShape } from './checks.ts';
import { lanesFor } from './lanes.ts';

/** How to normalise: `weightOffset` 1 for checkpoints that store the weight's distance from one. */
export interface RmsNormOptions {
  readonly eps: number;
  readonly weightOffset: 0 | 1;
  readonly dtype?: OperandDtype;
}

/**
 * x * rsqrt(mean(x^2) + eps) * (weightOffset + weight) over the last dimension: x [..., D] f32, weight [D] f32, result [..., D] f32
 * unless `dtype` says f16, or [rows, D] f16_blocks (Zhang and Sennrich 2019). D is a multiple of 4, of 8 for blocks. @throws KernelError
 */
export function rmsNorm(x: Tensor, weight: Tensor, { eps, weightOffset, dtype = 'f32' }: RmsNormOptions): Tensor {
  const dim = x.dim(-1);
  const rows = x.size / dim;
  expectDtype('rmsNorm', 'x', x, 'f32');
  expectDtype('rmsNorm', 'weight', weight, 'f32');
  expectShape('rmsNorm', 'weight', weight, [dim]);
  const isBlocked = dtype === 'f16_blocks';
  const multiple = isBlocked ? BLOCK_COLUMNS : 4;
  if (dim % multiple !== 0)
    throw new KernelError(`rmsNorm: x is ${described(x)}; expected a last dimension that is a multiple of ${multiple}`);
  const y = x.device.tensor(isBlocked ? [rows, dim] : x.shape, dtype);
  const { lanes, workgroups } = lanesFor(dim, rows);
  x.device.run({
    kernel: 'rms_norm/rms_norm',
    constants: {
      LANES: lanes,
      PIECES: Math.ceil(dim / (4 * lanes)),
      OUT_F16: dtype !== 'f32',
      OUT_BLOCKS: isBlocked,
    },
    bindings: [x, weight, y],
    params: { rows, dim, eps, weight_offset: weightOffset },
    workgroups: grid(workgroups),
    work: () => ({ flops: 5 * x.size }),
  });
  return y;
}

import { grid } from '../tensor/device.ts';
import { BLOCK_COLUMNS } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { OperandDtype } from './blocks.ts';
import { described, expectDtype, expectShape } from './checks.ts';
import { lanesFor } from './lanes.ts';

/** `count` neighbouring rows from row `first` on, and again `every` rows later, `groups` times. */
export interface RowPattern {
  readonly first: number;
  readonly count: number;
  readonly every: number;
  readonly groups: number;
}

/** Absent weights count as 1, absent biases as 0. */
export interface LayerNormOptions {
  readonly weight?: Tensor;
  readonly bias?: Tensor;
  readonly eps: number;
  readonly dtype?: OperandDtype;
  /** The rows of x to normalise, to [groups, count, D]; all of them unless given. */
  readonly rows?: RowPattern;
}

/**
 * (x - mean) * rsqrt(variance + eps) * weight + bias over the last dimension: x [..., D] f32, weight and bias [D] f32, result
 * [..., D] f32 unless `dtype` says f16, or [rows, D] f16_blocks (Ba, Kiros and Hinton 2016). D is a multiple of 4, of 8 for blocks. @throws KernelError
 */
export function layerNorm(x: Tensor, { weight, bias, eps, dtype = 'f32', rows: some }: LayerNormOptions): Tensor {
  const dim = x.dim(-1);
  const whole = { first: 0, count: x.size / dim, every: x.size / dim, groups: 1 };
  const { first, count, every, groups } = some ?? whole;
  const rows = groups * count;
  expectDtype('layerNorm', 'x', x, 'f32');
  for (const [name, vector] of Object.entries({ weight, bias })) {
    if (vector === undefined) continue;
    expectDtype('layerNorm', name, vector, 'f32');
    expectShape('layerNorm', name, vector, [dim]);
  }
  const isBlocked = dtype === 'f16_blocks';
  const multiple = isBlocked ? BLOCK_COLUMNS : 4;
  if (dim % multiple !== 0)
    throw new KernelError(
      `layerNorm: x is ${described(x)}; expected a last dimension that is a multiple of ${multiple}`,
    );
  if (first + (groups - 1) * every + count > whole.count || count > every)
    throw new KernelError(`layerNorm: ${groups} times ${count} rows of ${every} from ${first} on of ${described(x)}`);
  const shape = some === undefined ? x.shape : [groups, count, dim];
  const y = x.device.tensor(isBlocked ? [rows, dim] : shape, dtype);
  const { lanes, workgroups } = lanesFor(dim, rows);
  x.device.run({
    kernel: 'layer_norm/layer_norm',
    constants: {
      LANES: lanes,
      PIECES: Math.ceil(dim / (4 * lanes)),
      HAS_WEIGHT: weight !== undefined,
      HAS_BIAS: bias !== undefined,
      OUT_F16: dtype !== 'f32',
      OUT_BLOCKS: isBlocked,
      SOME: some !== undefined,
    },
    bindings: [x, weight ?? x, bias ?? x, y],
    params: { rows, dim, eps, first, count, every },
    workgroups: grid(workgroups),
    work: () => ({ flops: 7 * y.size }),
  });
  return y;
}

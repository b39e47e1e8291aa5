import { grid } from '../tensor/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { expectDtype, expectShape, expectWholeWords, type ResultDtype } from './checks.ts';
import { lanesFor } from './lanes.ts';

/** Absent weights count as 1, absent biases as 0. */
export interface LayerNormOptions {
  readonly weight?: Tensor;
  readonly bias?: Tensor;
  readonly eps: number;
  readonly dtype?: ResultDtype;
}

/**
 * (x - mean) * rsqrt(variance + eps) * weight + bias over the last dimension: x [..., D] f32, weight and bias [D] f32, result
 * [..., D] f32 unless `dtype` says f16 (Ba, Kiros and Hinton 2016). @throws KernelError
 */
export function layerNorm(x: Tensor, { weight, bias, eps, dtype = 'f32' }: LayerNormOptions): Tensor {
  const dim = x.dim(-1);
  const rows = x.size / dim;
  expectDtype('layerNorm', 'x', x, 'f32');
  for (const [name, vector] of Object.entries({ weight, bias })) {
    if (vector === undefined) continue;
    expectDtype('layerNorm', name, vector, 'f32');
    expectShape('layerNorm', name, vector, [dim]);
  }
  expectWholeWords('layerNorm', dim, dtype);
  const y = x.device.tensor(x.shape, dtype);
  const { lanes, workgroups } = lanesFor(dim, rows);
  x.device.run({
    kernel: 'layer_norm/layer_norm',
    constants: {
      LANES: lanes,
      HAS_WEIGHT: weight !== undefined,
      HAS_BIAS: bias !== undefined,
      OUT_F16: dtype === 'f16',
    },
    bindings: [x, weight ?? x, bias ?? x, y],
    params: { rows, dim, eps },
    workgroups: grid(workgroups),
    work: () => ({ flops: 7 * x.size }),
  });
  return y;
}

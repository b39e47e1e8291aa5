import { layerNorm } from '../../../kernels/layer_norm.ts';
import { rmsNorm } from '../../../kernels/rms_norm.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { normWeights } from '../../affine.ts';
import type { Weights } from '../../weights.ts';

/** A norm over the last dimension: f32 [..., width] to the same shape in `dtype`, f32 unless given. */
export type Norm = (x: Tensor, dtype?: 'f32' | 'f16') => Tensor;

const GEO_EPS = 1e-6;
const TORCH_EPS = 1e-5;

/** `nn.LayerNorm` with PyTorch's own epsilon. @throws InputError when a tensor is missing or of another shape */
export function torchLayerNorm(weights: Weights, name: string, width: number): Norm {
  const affine = normWeights(weights, name, width);
  return (x, dtype = 'f32') => layerNorm(x, { ...affine, eps: TORCH_EPS, dtype });
}

/**
 * The norm of geometry features (spec spatialstack.md section 1.2): which of the two the original built depends on the libraries it ran
 * with, so the checkpoint tells. With `<name>.bias` it is a LayerNorm, without one an RMSNorm.
 * @throws InputError when a tensor is missing or of another shape
 */
export function geoNorm(weights: Weights, name: string, width: number): Norm {
  if (weights.has(`${name}.bias`)) {
    const affine = normWeights(weights, name, width);
    return (x, dtype = 'f32') => layerNorm(x, { ...affine, eps: GEO_EPS, dtype });
  }
  const weight = weights.vector(`${name}.weight`, [width]);
  return (x, dtype = 'f32') => rmsNorm(x, weight, { eps: GEO_EPS, weightOffset: 0, dtype });
}

import type { Tensor } from '../tensor/tensor.ts';
import type { Weights } from './weights.ts';

/** `weight` and `bias` of a linear layer or a norm. */
export interface Affine {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

/** A linear layer's [outputs, inputs] weight and its bias. @throws InputError when missing or of another shape */
export function linearWeights(weights: Weights, name: string, outputs: number, inputs: number): Affine {
  return {
    weight: weights.matrix(`${name}.weight`, [outputs, inputs]),
    bias: weights.vector(`${name}.bias`, [outputs]),
  };
}

/** A layer norm's weight and bias, both [dim]. @throws InputError when missing or of another shape */
export function normWeights(weights: Weights, name: string, dim: number): Affine {
  return { weight: weights.vector(`${name}.weight`, [dim]), bias: weights.vector(`${name}.bias`, [dim]) };
}

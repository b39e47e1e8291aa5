import { linear } from '../../../kernels/matmul.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { type Affine, linearWeights } from '../../affine.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';

/** Where an MLP's two linear layers lie and how wide its ends are. */
export interface MlpLayout {
  readonly first: string;
  readonly second: string;
  readonly inputs: number;
  readonly outputs: number;
}

/** Linear, GELU (exact), Linear, both with bias. The hidden width is the checkpoint's. */
export class Mlp {
  readonly #first: Affine;
  readonly #second: Affine;

  /** @throws InputError when a tensor is missing or of another shape */
  constructor(
    weights: Weights,
    { first, second, inputs, outputs }: MlpLayout,
    readonly precision: Precision,
  ) {
    const hidden = weights.shape(`${first}.weight`)[0] ?? 0;
    this.#first = linearWeights(weights, first, hidden, inputs);
    this.#second = linearWeights(weights, second, outputs, hidden);
  }

  /** [..., inputs] f32 or f16 to [..., outputs] f32, plus `residual` of as many elements. */
  forward(x: Tensor, residual?: Tensor): Tensor {
    return x.device.tidy(() => {
      const hidden = linear(x, this.#first.weight, {
        bias: this.#first.bias,
        activation: 'gelu_erf',
        dtype: this.precision.operand,
      });
      return linear(hidden, this.#second.weight, { bias: this.#second.bias, ...(residual && { residual }) });
    });
  }
}

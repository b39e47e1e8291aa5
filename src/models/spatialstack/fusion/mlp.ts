import { operandFor } from '../../../kernels/blocks.ts';
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
    const matrices = weights.inBlocks(precision.operand);
    this.#first = linearWeights(matrices, first, hidden, inputs);
    this.#second = linearWeights(matrices, second, outputs, hidden);
  }

  /** [..., inputs] f32 or f16 to [..., outputs] f32, plus `residual` of as many elements. */
  forward(x: Tensor, residual?: Tensor): Tensor {
    const [first, second] = [this.#first, this.#second];
    return x.device.tidy(() => {
      const dtype = operandFor(second.weight, this.precision.operand);
      const hidden = linear(x, first.weight, { bias: first.bias, activation: 'gelu_erf', dtype });
      const out = linear(hidden, second.weight, { bias: second.bias, ...(residual && { residual }) });
      return out.reshape(...x.shape.slice(0, -1), second.weight.dim(0));
    });
  }
}

import type { Tensor } from '../../../tensor/tensor.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import { Mlp } from './mlp.ts';
import { geoNorm, type Norm } from './norm.ts';

/** `deepstack_vision_add`: a vision block's output + MLP(norm(feature)), patch by patch (spec spatialstack.md section 4). */
export class DeepstackVisionAdd {
  readonly norm: Norm;
  readonly mlp: Mlp;

  /** `weights` at `fusion_layers.{i}.{j}`; all widths are the checkpoint's. @throws InputError */
  constructor(
    weights: Weights,
    readonly precision: Precision,
  ) {
    const inputs = weights.shape('0.weight')[0] ?? 0;
    const outputs = weights.shape('1.2.weight')[0] ?? 0;
    this.norm = geoNorm(weights, '0', inputs);
    this.mlp = new Mlp(weights, { first: '1.0', second: '1.2', inputs, outputs }, precision);
  }

  /** hidden f32 [..., vision width] and feature f32 [..., G] of the same patches; returns f32, shape of `hidden`. */
  forward(hidden: Tensor, feature: Tensor): Tensor {
    return hidden.device.tidy(() =>
      this.mlp.forward(this.norm(feature, this.precision.operand), hidden).reshape(...hidden.shape),
    );
  }
}

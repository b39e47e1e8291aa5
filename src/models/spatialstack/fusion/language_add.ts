import type { Tensor } from '../../../tensor/tensor.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import { GeoProjection } from './geo_projection.ts';

/** `deepstack_language_add`, the released method: image + geo_mlp(windows of geo_ln(feature)) (spec spatialstack.md section 3.2). */
export class DeepstackLanguageAdd {
  readonly projection: GeoProjection;

  /** `weights` at `fusion_layers.{i}.{j}`. @throws InputError */
  constructor(weights: Weights, precision: Precision) {
    this.projection = new GeoProjection(weights, precision);
  }

  /**
   * @param image hidden states of the image tokens, f32 [n, d]
   * @param feature f32 [S, hp * wp, G] in merge-window order, n windows in all
   * @returns f32 [n, d]
   */
  forward(image: Tensor, feature: Tensor): Tensor {
    return this.projection.forward(feature, image);
  }
}

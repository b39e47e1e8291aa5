import { InputError } from '../../../io/errors.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import { Mlp } from './mlp.ts';
import { geoNorm, type Norm } from './norm.ts';

/** `geo_ln` and `geo_mlp`: the tokens of a merge window are normalised one by one and projected together to one row of the language model. */
export class GeoProjection {
  readonly geo_ln: Norm;
  readonly geo_mlp: Mlp;
  /** Width G of a geometry token. */
  readonly geoWidth: number;
  /** Tokens of a merge window, m * m. */
  readonly window: number;
  /** Width d of a result. */
  readonly outputs: number;

  /** Takes all widths from the weights. @throws InputError when a tensor is missing or they do not fit together */
  constructor(
    weights: Weights,
    readonly precision: Precision,
  ) {
    this.geoWidth = weights.shape('geo_ln.weight')[0] ?? 0;
    const inputs = weights.shape('geo_mlp.0.weight')[1] ?? 0;
    this.outputs = weights.shape('geo_mlp.2.weight')[0] ?? 0;
    this.window = inputs / this.geoWidth;
    if (!Number.isInteger(this.window) || this.window === 0) {
      throw new InputError(
        `${weights.checkpoint.path}: ${weights.prefix}geo_mlp.0.weight has ${inputs} columns; a multiple of geo_ln's width ${this.geoWidth} was expected`,
      );
    }
    this.geo_ln = geoNorm(weights, 'geo_ln', this.geoWidth);
    this.geo_mlp = new Mlp(
      weights,
      { first: 'geo_mlp.0', second: 'geo_mlp.2', inputs, outputs: this.outputs },
      precision,
    );
  }

  /** f32 [..., tokens, G] in merge-window order to f32 [all tokens / window, d], plus `residual` of that shape. */
  forward(feature: Tensor, residual?: Tensor): Tensor {
    return feature.device.tidy(() => {
      const columns = this.geoWidth * this.window;
      const windows = this.geo_ln(feature, this.precision.operand).reshape(feature.size / columns, columns);
      return this.geo_mlp.forward(windows, residual);
    });
  }
}

import { weightedRows } from '../../../kernels/weighted_rows.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import type { SpatialStackConfig } from '../config.ts';
import { Mlp } from './mlp.ts';
import { geoNorm, type Norm } from './norm.ts';
import { toWindowOrder } from './windows.ts';

/** What a merger is built from: its type, the side m of a window, widths G of a geometry token and d of a result. */
export interface GeometryMergerOptions {
  readonly type: SpatialStackConfig['geometry_merger_type'];
  readonly mergeSize: number;
  readonly geoWidth: number;
  readonly width: number;
}

/**
 * `GeometryFeatureMerger`: m x m geometry tokens to one row as wide as the language model (spec spatialstack.md section 4). Type mlp
 * normalises each token and projects them side by side; type avg projects their mean.
 */
export class GeometryFeatureMerger {
  /** Only of type mlp. */
  readonly ln_q: Norm | undefined;
  readonly mlp: Mlp;

  /** `weights` at `geometry_merger` or `geometry_merger_list.{k}`. @throws InputError */
  constructor(
    weights: Weights,
    readonly options: GeometryMergerOptions,
    readonly precision: Precision,
  ) {
    const { type, mergeSize, geoWidth, width: outputs } = options;
    this.ln_q = type === 'mlp' ? geoNorm(weights, 'ln_q', geoWidth) : undefined;
    const inputs = type === 'mlp' ? geoWidth * mergeSize ** 2 : geoWidth;
    this.mlp = new Mlp(weights, { first: 'mlp.0', second: 'mlp.2', inputs, outputs }, precision);
  }

  /** feature f32 [S, hp, wp, G] in raster order; returns f32 [S, floor(hp / m), floor(wp / m), d]. */
  forward(feature: Tensor): Tensor {
    const { mergeSize, width } = this.options;
    const [pictures, hp, wp, geoWidth] = feature.shape as [number, number, number, number];
    return feature.device.tidy(() => {
      const windows = toWindowOrder(feature.reshape(pictures, hp * wp, geoWidth), hp, wp, mergeSize);
      const merged = this.mlp.forward(
        this.ln_q === undefined ? this.#mean(windows) : this.#sideBySide(windows, this.ln_q),
      );
      return merged.reshape(pictures, Math.floor(hp / mergeSize), Math.floor(wp / mergeSize), width);
    });
  }

  #sideBySide(windows: Tensor, ln_q: Norm): Tensor {
    const columns = this.options.geoWidth * this.options.mergeSize ** 2;
    return ln_q(windows, this.precision.operand).reshape(windows.size / columns, columns);
  }

  #mean(windows: Tensor): Tensor {
    const { device } = windows;
    const perWindow = this.options.mergeSize ** 2;
    const tokens = windows.dim(0) * windows.dim(1);
    const shape = [tokens / perWindow, perWindow];
    const index = device.upload(
      Int32Array.from({ length: tokens }, (_, i) => i),
      shape,
      'i32',
    );
    const share = device.upload(new Float32Array(tokens).fill(1 / perWindow), shape, 'f32');
    return weightedRows(windows.reshape(tokens, this.options.geoWidth), index, share);
  }
}

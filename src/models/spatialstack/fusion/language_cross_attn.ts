import { stridedCopy } from '../../../kernels/strided_copy.ts';
import { KernelError } from '../../../tensor/errors.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import { CrossAttentionBlock } from './cross_attention_block.ts';
import { GeoProjection } from './geo_projection.ts';
import { gridPositions, type TokenGrid } from './grid_positions.ts';
import { Mlp } from './mlp.ts';
import { geoNorm, type Norm } from './norm.ts';

/** `deepstack_language_cross_attn`: image tokens attend to the projected geometry of their own picture (spec spatialstack.md section 4). */
export class DeepstackLanguageCrossAttn {
  readonly projection: GeoProjection;
  readonly cam_proj: { readonly norm: Norm; readonly mlp: Mlp };
  readonly cross_attn: CrossAttentionBlock;

  /** `weights` at `fusion_layers.{i}.{j}`. @throws InputError */
  constructor(
    weights: Weights,
    heads: number,
    readonly precision: Precision,
  ) {
    this.projection = new GeoProjection(weights, precision);
    const { geoWidth: inputs, outputs } = this.projection;
    this.cam_proj = {
      norm: geoNorm(weights, 'cam_proj.0', inputs),
      mlp: new Mlp(weights, { first: 'cam_proj.1', second: 'cam_proj.3', inputs, outputs }, precision),
    };
    this.cross_attn = new CrossAttentionBlock(weights.at('cross_attn'), { width: outputs, heads }, precision);
  }

  /**
   * @param image hidden states of the image tokens, f32 [S * rows * columns, d]
   * @param feature f32 [S, tokens, G] in merge-window order, a camera token before them or not
   * @param grid of one picture; all have the same
   * @returns f32, shape of `image`
   */
  forward(image: Tensor, feature: Tensor, grid: TokenGrid): Tensor {
    const { device } = image;
    const [pictures, tokens] = feature.shape as [number, number, number];
    const perPicture = grid.rows * grid.columns;
    const camera = tokens - perPicture * this.projection.window;
    if (image.dim(0) !== pictures * perPicture || (camera !== 0 && camera !== 1)) {
      throw new KernelError(
        `language cross-attention: [${image.shape}] image tokens and features [${feature.shape}] do not fit a grid of ${grid.rows} x ${grid.columns}`,
      );
    }
    const width = this.projection.outputs;
    return device.tidy(() => {
      const keys = device.tidy(() => {
        if (camera === 0) return this.projection.forward(feature).reshape(pictures, perPicture, width);
        return this.#withCamera(feature, perPicture);
      });
      const positions = gridPositions(device, grid, { pictures, camera: camera === 1, width });
      const x = image.reshape(pictures, perPicture, width);
      return this.cross_attn.forward(x, keys, positions).reshape(...image.shape);
    });
  }

  /** Keys of a feature that starts with a camera token: f32 [S, 1 + perPicture, d]. */
  #withCamera(feature: Tensor, perPicture: number): Tensor {
    const { device } = feature;
    const [pictures, tokens, geoWidth] = feature.shape as [number, number, number];
    const { norm, mlp } = this.cam_proj;
    const cameraTokens = device.tensor([pictures, 1, geoWidth]);
    const patchTokens = device.tensor([pictures, tokens - 1, geoWidth]);
    copyTokens(feature, 0, cameraTokens, 0, 1);
    copyTokens(feature, 1, patchTokens, 0, tokens - 1);

    const width = this.projection.outputs;
    const projectedCamera = mlp.forward(norm(cameraTokens, this.precision.operand));
    const projectedPatches = this.projection.forward(patchTokens).reshape(pictures, perPicture, width);
    const keys = device.tensor([pictures, 1 + perPicture, width]);
    copyTokens(projectedCamera, 0, keys, 0, 1);
    copyTokens(projectedPatches, 0, keys, 1, perPicture);
    return keys;
  }
}

/** Copies `count` tokens of every picture between two [S, tokens, C]. */
function copyTokens(source: Tensor, sourceStart: number, target: Tensor, targetStart: number, count: number): void {
  const [pictures, sourceTokens, width] = source.shape as [number, number, number];
  stridedCopy(source, target, {
    sizes: [1, pictures, count, width],
    sourceStrides: [0, sourceTokens * width, width, 1],
    targetStrides: [0, target.dim(1) * width, width, 1],
    sourceOffset: sourceStart * width,
    targetOffset: targetStart * width,
  });
}

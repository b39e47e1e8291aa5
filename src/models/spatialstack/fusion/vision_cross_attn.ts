import { linear } from '../../../kernels/matmul.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { type Affine, linearWeights } from '../../affine.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import { CrossAttentionBlock, type CrossPositions } from './cross_attention_block.ts';
import { type Norm, torchLayerNorm } from './norm.ts';

/** `deepstack_vision_cross_attn`: patches of the vision tower attend to their picture's projected geometry (spec spatialstack.md section 4). */
export class DeepstackVisionCrossAttn {
  readonly geo_proj: { readonly norm: Norm; readonly linear: Affine };
  readonly cross_attn: CrossAttentionBlock;

  /** `weights` at `fusion_layers.{i}.{j}`; all widths are the checkpoint's. @throws InputError */
  constructor(
    weights: Weights,
    heads: number,
    readonly precision: Precision,
  ) {
    const [width = 0, geoWidth = 0] = weights.shape('geo_proj.1.weight');
    this.geo_proj = {
      norm: torchLayerNorm(weights, 'geo_proj.0', geoWidth),
      linear: linearWeights(weights, 'geo_proj.1', width, geoWidth),
    };
    this.cross_attn = new CrossAttentionBlock(weights.at('cross_attn'), { width, heads }, precision);
  }

  /** hidden f32 [S, patches, vision width], feature f32 [S, tokens, G], `positions` of both if given; returns f32, shape of `hidden`. */
  forward(hidden: Tensor, feature: Tensor, positions?: CrossPositions): Tensor {
    return hidden.device.tidy(() => {
      const { weight, bias } = this.geo_proj.linear;
      const keys = linear(this.geo_proj.norm(feature, this.precision.operand), weight, { bias });
      return this.cross_attn.forward(hidden, keys, positions);
    });
  }
}

import { add, addScaled, blend, convert } from '../../../kernels/elementwise.ts';
import { linear } from '../../../kernels/matmul.ts';
import { stridedCopy } from '../../../kernels/strided_copy.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { type Affine, linearWeights } from '../../affine.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import type { FeatureFusionMethod } from '../config.ts';
import { CrossAttentionBlock } from './cross_attention_block.ts';
import { type Norm, torchLayerNorm } from './norm.ts';

/** Joins the vision merger's output with merged geometry, both f32 [S, h, w, d]; the result has their shape (spec spatialstack.md section 4). */
export interface FeatureFusion {
  forward(features2d: Tensor, features3d: Tensor): Tensor;
}

/** What a fusion is built from, in the configuration's names; `width` is d. */
export interface FeatureFusionOptions {
  readonly method: Exclude<FeatureFusionMethod, 'deepstack_language_add'>;
  readonly width: number;
  readonly fusion_attention_heads: number;
  readonly fusion_num_layers: number;
}

/** The fusion of a method; `weights` at `feature_fusion`. @throws InputError when a tensor is missing or of another shape */
export function featureFusion(weights: Weights, options: FeatureFusionOptions, precision: Precision): FeatureFusion {
  switch (options.method) {
    case 'add':
      return { forward: add };
    case 'concat':
      return new ConcatFusion(weights, options.width, precision);
    case 'gated':
      return new GatedFusion(weights, options.width, precision);
    case 'weighted':
      return new WeightedFusion(weights);
    case 'cross_attention':
      return new CrossAttentionFusion(weights, options, precision);
  }
}

/** LN1(a) and LN2(b), and a linear layer over the two side by side. */
class NormedPair {
  readonly norm1: Norm;
  readonly norm2: Norm;
  readonly projection: Affine;

  constructor(
    weights: Weights,
    projection: string,
    readonly width: number,
    readonly precision: Precision,
  ) {
    this.norm1 = torchLayerNorm(weights, 'norm1', width);
    this.norm2 = torchLayerNorm(weights, 'norm2', width);
    this.projection = linearWeights(weights, projection, width, 2 * width);
  }

  /** Linear(concat(a, b)), [..., d] each. */
  project(a: Tensor, b: Tensor): Tensor {
    const { device } = a;
    const { width } = this;
    return device.tidy(() => {
      const both = device.tensor([...a.shape.slice(0, -1), 2 * width]);
      [a, b].forEach((half, i) => {
        stridedCopy(half, both, {
          sizes: [1, 1, half.size / width, width],
          sourceStrides: [0, 0, width, 1],
          targetStrides: [0, 0, 2 * width, 1],
          targetOffset: i * width,
        });
      });
      const operand = this.precision.operand === 'f32' ? both : convert(both, this.precision.operand);
      return linear(operand, this.projection.weight, { bias: this.projection.bias });
    });
  }
}

/** Linear(concat(LN1(a), LN2(b))) */
class ConcatFusion implements FeatureFusion {
  readonly pair: NormedPair;

  constructor(weights: Weights, width: number, precision: Precision) {
    this.pair = new NormedPair(weights, 'projection', width, precision);
  }

  forward(features2d: Tensor, features3d: Tensor): Tensor {
    const { norm1, norm2 } = this.pair;
    return features2d.device.tidy(() => this.pair.project(norm1(features2d), norm2(features3d)));
  }
}

/** s LN1(a) + (1 - s) LN2(b), s = sigmoid(Linear(concat(LN1(a), LN2(b)))) */
class GatedFusion implements FeatureFusion {
  readonly pair: NormedPair;

  constructor(weights: Weights, width: number, precision: Precision) {
    this.pair = new NormedPair(weights, 'gate_projection.0', width, precision);
  }

  forward(features2d: Tensor, features3d: Tensor): Tensor {
    return features2d.device.tidy(() => {
      const a = this.pair.norm1(features2d);
      const b = this.pair.norm2(features3d);
      return blend(this.pair.project(a, b), a, b);
    });
  }
}

/** (w2 a + w3 b) / (w2 + w3) with learned scalars. */
class WeightedFusion implements FeatureFusion {
  readonly weight_2d: Float32Array;
  readonly weight_3d: Float32Array;

  constructor(weights: Weights) {
    this.weight_2d = weights.host('weight_2d', []);
    this.weight_3d = weights.host('weight_3d', []);
  }

  forward(features2d: Tensor, features3d: Tensor): Tensor {
    const [a, b] = [this.weight_2d[0]!, this.weight_3d[0]!];
    return addScaled(features2d, features3d, { scaleA: a / (a + b), scaleB: b / (a + b) });
  }
}

/** Cross-attention blocks inside each picture, without positions: the original passes none that its block could use. */
class CrossAttentionFusion implements FeatureFusion {
  readonly cross_attn_blocks: readonly CrossAttentionBlock[];

  constructor(
    weights: Weights,
    { width, fusion_attention_heads: heads, fusion_num_layers }: FeatureFusionOptions,
    precision: Precision,
  ) {
    this.cross_attn_blocks = Array.from(
      { length: fusion_num_layers },
      (_, k) => new CrossAttentionBlock(weights.at(`cross_attn_blocks.${k}`), { width, heads }, precision),
    );
  }

  forward(features2d: Tensor, features3d: Tensor): Tensor {
    return features2d.device.tidy(() => {
      const flat = (x: Tensor) => x.reshape(x.dim(0), x.size / x.dim(0) / x.dim(-1), x.dim(-1));
      const fused = this.cross_attn_blocks.reduce((x, block) => block.forward(x, flat(features3d)), flat(features2d));
      return fused.reshape(...features2d.shape);
    });
  }
}

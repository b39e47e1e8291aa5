import { InputError } from '../../../io/errors.ts';
import { attention } from '../../../kernels/attention.ts';
import { add, convert } from '../../../kernels/elementwise.ts';
import { type Heads, heads } from '../../../kernels/heads.ts';
import { linear } from '../../../kernels/matmul.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { type Affine, linearWeights } from '../../affine.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import { Mlp } from './mlp.ts';
import { type Norm, torchLayerNorm } from './norm.ts';

/** Position embeddings, f32 with as many elements as queries and keys have, added after their norms. */
export interface CrossPositions {
  readonly query: Tensor;
  readonly key: Tensor;
}

/** Part of the stacked `in_proj`. */
const QUERY = 0;
const KEY = 1;
const VALUE = 2;

/** Width and heads of a block. */
export interface CrossAttentionSizes {
  readonly width: number;
  readonly heads: number;
}

/** x + MHA(norm1_query(x), norm1_key(y), norm1_value(y)), then an MLP with a residual (spec spatialstack.md section 4). */
export class CrossAttentionBlock {
  readonly norm1_query: Norm;
  readonly norm1_key: Norm;
  readonly norm1_value: Norm;
  readonly norm2: Norm;
  /** Queries, keys and values one under the other: [3C, C]. */
  readonly in_proj: Affine;
  readonly out_proj: Affine;
  readonly mlp: Mlp;

  /** @throws InputError when a tensor is missing or of another shape, or the width cannot be split into the heads */
  constructor(
    weights: Weights,
    readonly sizes: CrossAttentionSizes,
    readonly precision: Precision,
  ) {
    const { width } = sizes;
    if (width % (2 * sizes.heads) !== 0) {
      throw new InputError(
        `${weights.checkpoint.path}: ${weights.prefix}cross_attention has width ${width}; ${sizes.heads} heads of an even size were expected`,
      );
    }
    this.norm1_query = torchLayerNorm(weights, 'norm1_query', width);
    this.norm1_key = torchLayerNorm(weights, 'norm1_key', width);
    this.norm1_value = torchLayerNorm(weights, 'norm1_value', width);
    this.norm2 = torchLayerNorm(weights, 'norm2', width);
    this.in_proj = {
      weight: weights.matrix('cross_attention.in_proj_weight', [3 * width, width]),
      bias: weights.vector('cross_attention.in_proj_bias', [3 * width]),
    };
    this.out_proj = linearWeights(weights, 'cross_attention.out_proj', width, width);
    this.mlp = new Mlp(weights, { first: 'mlp.0', second: 'mlp.3', inputs: width, outputs: width }, precision);
  }

  /** x f32 [B, Nq, C] attends to y f32 [B, Nk, C], each of the B by itself; returns f32 [B, Nq, C]. */
  forward(x: Tensor, y: Tensor, positions?: CrossPositions): Tensor {
    const { device } = x;
    return device.tidy(() => {
      const attended = device.tidy(() => this.#attend(x, y, positions));
      const h = linear(attended, this.out_proj.weight, { bias: this.out_proj.bias, residual: x });
      return this.mlp.forward(this.norm2(h, this.precision.operand), h).reshape(...x.shape);
    });
  }

  #attend(x: Tensor, y: Tensor, positions?: CrossPositions): Tensor {
    const { operand, attention: variant } = this.precision;
    const q = this.#project(this.#placed(this.norm1_query, x, positions?.query), QUERY);
    const k = this.#project(this.#placed(this.norm1_key, y, positions?.key), KEY);
    const v = this.#project(this.norm1_value(y, operand), VALUE);
    return attention(q, k, v, { segments: x.dim(0), dtype: operand, ...(variant && { variant }) });
  }

  /** norm(x) + position, in the operand dtype. */
  #placed(norm: Norm, x: Tensor, position?: Tensor): Tensor {
    const { operand } = this.precision;
    if (position === undefined) return norm(x, operand);
    const sum = add(norm(x), position.reshape(...x.shape));
    return operand === 'f32' ? sum : convert(sum, operand);
  }

  /** One of the three projections, head by head. Its rows are copied out because a view of them need not lie on the binding alignment. */
  #project(x: Tensor, part: number): Heads {
    const { device } = x;
    const { width, heads: count } = this.sizes;
    const projected = device.tidy(() => {
      const weight = device.tensor([width, width], this.in_proj.weight.dtype);
      const bias = device.tensor([width]);
      device.copy(this.in_proj.weight, part * width * width, weight, 0, width * width);
      device.copy(this.in_proj.bias, part * width, bias, 0, width);
      return linear(x, weight, { bias, dtype: this.precision.operand });
    });
    const tokens = x.size / width;
    return heads(projected, { tokens, heads: count, dim: width / count, tokenStride: width });
  }
}

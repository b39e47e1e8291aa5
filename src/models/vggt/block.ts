import { attention } from '../../kernels/attention.ts';
import { type HeadNorm, headNormRope, type Rope } from '../../kernels/head_norm_rope.ts';
import { type Heads, heads } from '../../kernels/heads.ts';
import { layerNorm } from '../../kernels/layer_norm.ts';
import { linear } from '../../kernels/matmul.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Affine, linearWeights, normWeights } from '../affine.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';

/** What distinguishes the blocks of VGGT's parts. */
export interface BlockConfig {
  /** Width of a token. */
  readonly dim: number;
  readonly heads: number;
  /** Width of the MLP's inner layer. */
  readonly hidden: number;
  /** Epsilon of every norm. */
  readonly eps: number;
  /** Whether queries and keys are normalised per head. */
  readonly qkNorm: boolean;
}

/** How tokens attend to each other. */
export interface BlockOptions {
  /** The tokens fall into this many equal runs that do not see each other. */
  readonly segments: number;
  readonly rope?: Rope;
}

/** The transformer block of DINOv2, the frame, global and camera blocks: attention and MLP with LayerScale (spec vggt.md sections 3 and 4.3). */
export class Block {
  readonly #config: BlockConfig;
  readonly #precision: Precision;
  readonly norm1: Affine;
  readonly qkv: Affine;
  readonly qNorm: HeadNorm | undefined;
  readonly kNorm: HeadNorm | undefined;
  readonly proj: Affine;
  readonly ls1: Tensor;
  readonly norm2: Affine;
  readonly fc1: Affine;
  readonly fc2: Affine;
  readonly ls2: Tensor;

  constructor(weights: Weights, config: BlockConfig, precision: Precision) {
    const { dim, hidden, eps } = config;
    const headNorm = (name: string): HeadNorm => ({
      kind: 'layer',
      ...normWeights(weights, name, dim / config.heads),
      eps,
    });
    this.#config = config;
    this.#precision = precision;
    this.norm1 = normWeights(weights, 'norm1', dim);
    this.qkv = linearWeights(weights, 'attn.qkv', 3 * dim, dim);
    this.qNorm = config.qkNorm ? headNorm('attn.q_norm') : undefined;
    this.kNorm = config.qkNorm ? headNorm('attn.k_norm') : undefined;
    this.proj = linearWeights(weights, 'attn.proj', dim, dim);
    this.ls1 = weights.vector('ls1.gamma', [dim]);
    this.norm2 = normWeights(weights, 'norm2', dim);
    this.fc1 = linearWeights(weights, 'mlp.fc1', hidden, dim);
    this.fc2 = linearWeights(weights, 'mlp.fc2', dim, hidden);
    this.ls2 = weights.vector('ls2.gamma', [dim]);
  }

  /** Tokens [T, dim] f32 to tokens of the same shape; everything else is freed. */
  forward(x: Tensor, options: BlockOptions): Tensor {
    const { device } = x;
    return device.tidy(() => {
      const y = device.tidy(() => this.#attn(x, options));
      return device.tidy(() => this.#mlp(y));
    });
  }

  /** x + ls1 * attn(norm1(x)) */
  #attn(x: Tensor, { segments, rope }: BlockOptions): Tensor {
    const { operand, attention: variant } = this.#precision;
    const projected = x.device.tidy(() => this.#queriesKeysValues(x, rope));
    const [q, k, v] = this.#split(projected);
    const attended = attention(q, k, v, { segments, dtype: operand, ...(variant && { variant }) });
    return linear(attended, this.proj.weight, { bias: this.proj.bias, gamma: this.ls1, residual: x });
  }

  /** Queries, keys and values ready for attention, side by side: [T, 3 * dim] in the operand dtype. */
  #queriesKeysValues(x: Tensor, rope?: Rope): Tensor {
    const { operand } = this.#precision;
    const { weight, bias } = this.qkv;
    const normed = layerNorm(x, { ...this.norm1, eps: this.#config.eps, dtype: operand });
    if (this.qNorm === undefined && rope === undefined) return linear(normed, weight, { bias, dtype: operand });

    // Norm and rotation read f32, so that only their result is rounded.
    const projected = linear(normed, weight, { bias });
    const prepared = x.device.tensor(projected.shape, operand);
    const [q, k, v] = this.#split(projected);
    const [qTarget, kTarget, vTarget] = this.#split(prepared);
    headNormRope(q, qTarget, { ...(this.qNorm && { norm: this.qNorm }), ...(rope && { rope }) });
    headNormRope(k, kTarget, { ...(this.kNorm && { norm: this.kNorm }), ...(rope && { rope }) });
    headNormRope(v, vTarget, {}); // only changes the dtype
    return prepared;
  }

  /** The views of queries, keys and values inside [T, 3 * dim], whose columns are q | k | v, each head by head. */
  #split(packed: Tensor): [Heads, Heads, Heads] {
    const { dim, heads: count } = this.#config;
    const part = (index: number): Heads =>
      heads(packed, {
        tokens: packed.dim(0),
        heads: count,
        dim: dim / count,
        tokenStride: 3 * dim,
        offset: index * dim,
      });
    return [part(0), part(1), part(2)];
  }

  /** x + ls2 * mlp(norm2(x)) */
  #mlp(x: Tensor): Tensor {
    const { operand } = this.#precision;
    const normed = layerNorm(x, { ...this.norm2, eps: this.#config.eps, dtype: operand });
    const hidden = linear(normed, this.fc1.weight, { bias: this.fc1.bias, activation: 'gelu_erf', dtype: operand });
    return linear(hidden, this.fc2.weight, { bias: this.fc2.bias, gamma: this.ls2, residual: x });
  }
}

import { attention } from '../../kernels/attention.ts';
import { operandFor } from '../../kernels/blocks.ts';
import { type HeadNorm, headNormRope, type Rope } from '../../kernels/head_norm_rope.ts';
import { type Heads, heads } from '../../kernels/heads.ts';
import { layerNorm } from '../../kernels/layer_norm.ts';
import { linear } from '../../kernels/matmul.ts';
import { DTYPE_BYTES } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Affine, linearWeights, normWeights } from '../affine.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import { inSlices, rowSlices } from './slices.ts';

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
    const matrices = weights.inBlocks(precision.operand);
    this.qkv = linearWeights(matrices, 'attn.qkv', 3 * dim, dim);
    this.qNorm = config.qkNorm ? headNorm('attn.q_norm') : undefined;
    this.kNorm = config.qkNorm ? headNorm('attn.k_norm') : undefined;
    this.proj = linearWeights(matrices, 'attn.proj', dim, dim);
    this.ls1 = weights.vector('ls1.gamma', [dim]);
    this.norm2 = normWeights(weights, 'norm2', dim);
    this.fc1 = linearWeights(matrices, 'mlp.fc1', hidden, dim);
    this.fc2 = linearWeights(matrices, 'mlp.fc2', dim, hidden);
    this.ls2 = weights.vector('ls2.gamma', [dim]);
  }

  /** Tokens [T, dim] f32 to tokens of the same shape; everything else is freed. */
  forward(x: Tensor, options: BlockOptions): Tensor {
    const { device } = x;
    return device.tidy(() => {
      const y = device.tidy(() => this.#attn(x, options));
      return this.#mlp(y);
    });
  }

  /** x + ls1 * attn(norm1(x)) */
  #attn(x: Tensor, { segments, rope }: BlockOptions): Tensor {
    const { operand, attention: variant } = this.#precision;
    const [q, k, v] = this.#queriesKeysValues(x, rope);
    const dtype = operandFor(this.proj.weight, operand);
    const attended = attention(q, k, v, { segments, dtype, ...(variant && { variant }) });
    return linear(attended, this.proj.weight, { bias: this.proj.bias, gamma: this.ls1, residual: x });
  }

  /** Queries, keys and values ready for attention, in the operand dtype. */
  #queriesKeysValues(x: Tensor, rope?: Rope): [Heads, Heads, Heads] {
    const { operand } = this.#precision;
    const { weight, bias } = this.qkv;
    const { dim, eps } = this.#config;
    const { device } = x;
    const project = (rows: Tensor) =>
      device.tidy(() => {
        const normed = layerNorm(rows, { ...this.norm1, eps, dtype: operandFor(weight, operand) });
        return linear(normed, weight, { bias, dtype: operand });
      });
    if (this.qNorm === undefined && rope === undefined) return this.#split(project(x));

    // Queries and keys get results of their own, a third as large as one of all, which can be bound for more tokens. Values stay where the product
    // leaves them, unless it has to be cut up.
    const slices = rowSlices(device, x.dim(0), 3 * dim * DTYPE_BYTES[operand]);
    const whole = slices.length === 1;
    const results = Array.from({ length: whole ? 2 : 3 }, () => device.tensor(x.shape, operand));
    const attending = results.map((result) => this.#heads(result));
    for (const { start, count } of slices) {
      const packed = project(x.rows(start, count));
      const parts = this.#split(packed);
      const turn = rope && { rope: { ...rope, table: rope.table.rows(start, count) } };
      const target = (i: number) => this.#heads(results[i]!.rows(start, count));
      headNormRope(parts[0], target(0), { ...(this.qNorm && { norm: this.qNorm }), ...turn });
      headNormRope(parts[1], target(1), { ...(this.kNorm && { norm: this.kNorm }), ...turn });
      if (whole) {
        attending.push(parts[2]);
      } else {
        headNormRope(parts[2], target(2), {}); // a plain move
        device.dispose(packed);
      }
    }
    return attending as [Heads, Heads, Heads];
  }

  /** The heads inside [T, dim], one by one. */
  #heads(packed: Tensor, offset = 0): Heads {
    const { dim, heads: count } = this.#config;
    return heads(packed, {
      tokens: packed.dim(0),
      heads: count,
      dim: dim / count,
      tokenStride: packed.dim(1),
      offset,
    });
  }

  /** The views of queries, keys and values inside [T, 3 * dim], whose columns are q | k | v. */
  #split(packed: Tensor): [Heads, Heads, Heads] {
    const { dim } = this.#config;
    return [this.#heads(packed), this.#heads(packed, dim), this.#heads(packed, 2 * dim)];
  }

  /** x + ls2 * mlp(norm2(x)) */
  #mlp(x: Tensor): Tensor {
    const { operand } = this.#precision;
    const { hidden: width, eps } = this.#config;
    return inSlices(x, width * DTYPE_BYTES[operand], (rows) => {
      const { fc1, fc2 } = this;
      const normed = layerNorm(rows, { ...this.norm2, eps, dtype: operandFor(fc1.weight, operand) });
      const dtype = operandFor(fc2.weight, operand);
      const hidden = linear(normed, fc1.weight, { bias: fc1.bias, activation: 'gelu_erf', dtype });
      return linear(hidden, fc2.weight, { bias: fc2.bias, gamma: this.ls2, residual: rows });
    });
  }
}

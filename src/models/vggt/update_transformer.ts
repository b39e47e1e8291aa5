import { type AttentionVariant, attention } from '../../kernels/attention.ts';
import { add } from '../../kernels/elementwise.ts';
import { heads } from '../../kernels/heads.ts';
import { layerNorm } from '../../kernels/layer_norm.ts';
import { linear } from '../../kernels/matmul.ts';
import { stridedCopy } from '../../kernels/strided_copy.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Affine, linearWeights, normWeights } from '../affine.ts';
import type { Weights } from '../weights.ts';

const EPS = 1e-5;

/** Sizes of the update transformer. */
export interface UpdateTransformerConfig {
  readonly inputs: number;
  readonly outputs: number;
  readonly hidden: number;
  readonly heads: number;
  readonly depth: number;
  readonly attention?: AttentionVariant;
}

/** PyTorch's nn.MultiheadAttention; the projections of queries, keys and values are stacked. */
class MultiheadAttention {
  readonly inProj: Affine;
  readonly outProj: Affine;
  readonly #config: UpdateTransformerConfig;

  constructor(weights: Weights, config: UpdateTransformerConfig) {
    const { hidden } = config;
    this.#config = config;
    this.inProj = {
      weight: weights.matrix('in_proj_weight', [3 * hidden, hidden]),
      bias: weights.vector('in_proj_bias', [3 * hidden]),
    };
    this.outProj = linearWeights(weights, 'out_proj', hidden, hidden);
  }

  /** y + attention of y over `context`, or over itself without one; both fall into `segments` runs that do not see each other. */
  forward(y: Tensor, context: Tensor | undefined, segments: number): Tensor {
    const { hidden, heads: count, attention: variant } = this.#config;
    return y.device.tidy(() => {
      const [queries, others] = context === undefined ? this.#project(y, y) : this.#project(y, context);
      const view = (tensor: Tensor, offset: number) =>
        heads(tensor, { tokens: tensor.dim(0), heads: count, dim: hidden / count, tokenStride: tensor.dim(1), offset });
      const base = others.dim(1) - 2 * hidden;
      const attended = attention(view(queries, 0), view(others, base), view(others, base + hidden), {
        segments,
        ...(variant && { variant }),
      });
      return linear(attended, this.outProj.weight, { bias: this.outProj.bias, residual: y });
    });
  }

  /** A tensor whose first columns are the queries, and one whose last columns are keys and values. */
  #project(y: Tensor, context: Tensor): [queries: Tensor, others: Tensor] {
    const { hidden } = this.#config;
    const { weight, bias } = this.inProj;
    if (context === y) {
      const all = linear(y, weight, { bias });
      return [all, all];
    }
    return [
      linear(y, rowsOf(weight, 0, hidden), { bias: rowsOf(bias, 0, hidden) }),
      linear(context, rowsOf(weight, hidden, 2 * hidden), { bias: rowsOf(bias, hidden, 2 * hidden) }),
    ];
  }
}

/** Some rows of a tensor: a view where they lie so that they can be bound, as those of the released model do, else a copy. */
function rowsOf(tensor: Tensor, start: number, count: number): Tensor {
  const { device } = tensor;
  const rowBytes = tensor.byteLength / tensor.dim(0);
  if ((tensor.offset + start * rowBytes) % device.limits.minStorageBufferOffsetAlignment === 0)
    return tensor.rows(start, count);
  const rows = device.tensor([count, ...tensor.shape.slice(1)], tensor.dtype);
  const row = tensor.size / tensor.dim(0);
  device.copy(tensor, start * row, rows, 0, count * row);
  return rows;
}

/** A self-attention or cross-attention block. Both skip connections start from the normalised tokens. */
class AttentionBlock {
  readonly norm1: Affine;
  readonly normContext: Affine | undefined;
  readonly attn: MultiheadAttention;
  readonly norm2: Affine;
  readonly fc1: Affine;
  readonly fc2: Affine;

  constructor(weights: Weights, config: UpdateTransformerConfig, isCross: boolean) {
    const { hidden } = config;
    const inner = weights.shape('mlp.fc1.weight')[0]!;
    this.norm1 = normWeights(weights, 'norm1', hidden);
    this.normContext = isCross ? normWeights(weights, 'norm_context', hidden) : undefined;
    this.attn = new MultiheadAttention(weights.at(isCross ? 'cross_attn' : 'attn'), config);
    this.norm2 = normWeights(weights, 'norm2', hidden);
    this.fc1 = linearWeights(weights, 'mlp.fc1', inner, hidden);
    this.fc2 = linearWeights(weights, 'mlp.fc2', hidden, inner);
  }

  /** Tokens [T, hidden] in `segments` runs, and a cross-attention block's context in as many. */
  forward(x: Tensor, segments: number, context?: Tensor): Tensor {
    return x.device.tidy(() => {
      const y = x.device.tidy(() => {
        const seen = context && layerNorm(context, { ...this.normContext!, eps: EPS });
        return this.attn.forward(layerNorm(x, { ...this.norm1, eps: EPS }), seen, segments);
      });
      const inner = linear(layerNorm(y, { ...this.norm2, eps: EPS }), this.fc1.weight, {
        bias: this.fc1.bias,
        activation: 'gelu_erf',
      });
      return linear(inner, this.fc2.weight, { bias: this.fc2.bias, residual: y });
    });
  }
}

/**
 * The transformer that proposes how tracks move (spec vggt.md section 7.4; CoTracker, Karaev et al. 2024): attention over time inside each track,
 * then between tracks inside each frame, by way of a few learned virtual tracks.
 */
export class UpdateTransformer {
  readonly config: UpdateTransformerConfig;
  readonly inputNorm: Affine;
  readonly inputTransform: Affine;
  readonly outputNorm: Affine;
  readonly flowHead: Affine;
  /** [1, tracks, 1, hidden]; spelt "virual_tracks" in the checkpoint. */
  readonly virtualTracks: Tensor;
  readonly timeBlocks: readonly AttentionBlock[];
  readonly spaceVirtualBlocks: readonly AttentionBlock[];
  readonly spacePoint2virtualBlocks: readonly AttentionBlock[];
  readonly spaceVirtual2pointBlocks: readonly AttentionBlock[];

  /** @throws InputError when the checkpoint lacks a weight or has one of another shape */
  constructor(weights: Weights, config: UpdateTransformerConfig) {
    const { inputs, outputs, hidden, depth } = config;
    const blocks = (name: string, isCross: boolean) =>
      Array.from({ length: depth }, (_, i) => new AttentionBlock(weights.at(`${name}.${i}`), config, isCross));
    this.config = config;
    this.inputNorm = normWeights(weights, 'input_norm', inputs);
    this.inputTransform = linearWeights(weights, 'input_transform', hidden, inputs);
    this.outputNorm = normWeights(weights, 'output_norm', hidden);
    this.flowHead = linearWeights(weights, 'flow_head', outputs, hidden);
    this.virtualTracks = weights.vector('virual_tracks', [1, weights.shape('virual_tracks')[1]!, 1, hidden]);
    this.timeBlocks = blocks('time_blocks', false);
    this.spaceVirtualBlocks = blocks('space_virtual_blocks', false);
    this.spacePoint2virtualBlocks = blocks('space_point2virtual_blocks', true);
    this.spaceVirtual2pointBlocks = blocks('space_virtual2point_blocks', true);
  }

  /** Tokens [tracks, frames, inputs] f32 to updates [tracks, frames, outputs] f32. */
  forward(input: Tensor): Tensor {
    const { device } = input;
    const { hidden, outputs, inputs, depth } = this.config;
    const [tracks, frames] = input.shape as [number, number];
    const virtual = this.virtualTracks.dim(1);
    return device.tidy(() => {
      const normed = layerNorm(input.reshape(tracks * frames, inputs), { ...this.inputNorm, eps: EPS });
      const start = linear(normed, this.inputTransform.weight, { bias: this.inputTransform.bias });
      let x = this.#withVirtualTracks(start, tracks, frames);
      for (let i = 0; i < depth; i++) {
        const next = device.tidy(() => {
          const inTime = this.timeBlocks[i]!.forward(x, tracks + virtual);
          let points = transposed(inTime, { first: 0, count: tracks, frames });
          let others = transposed(inTime, { first: tracks, count: virtual, frames });
          others = this.spaceVirtual2pointBlocks[i]!.forward(others, frames, points);
          others = this.spaceVirtualBlocks[i]!.forward(others, frames);
          points = this.spacePoint2virtualBlocks[i]!.forward(points, frames, others);
          return joined(points, others, frames);
        });
        device.dispose(x);
        x = next;
      }
      const real = device.tensor([tracks * frames, hidden]);
      device.copy(x, 0, real, 0, real.size);
      return linear(layerNorm(add(real, start), { ...this.outputNorm, eps: EPS }), this.flowHead.weight, {
        bias: this.flowHead.bias,
      }).reshape(tracks, frames, outputs);
    });
  }

  /** Tokens [(tracks + virtual) * frames, hidden], the virtual tracks' the same in every frame. */
  #withVirtualTracks(tokens: Tensor, tracks: number, frames: number): Tensor {
    const { hidden } = this.config;
    const virtual = this.virtualTracks.dim(1);
    const all = tokens.device.tensor([(tracks + virtual) * frames, hidden]);
    tokens.device.copy(tokens, 0, all, 0, tokens.size);
    stridedCopy(this.virtualTracks, all, {
      sizes: [1, virtual, frames, hidden],
      sourceStrides: [0, hidden, 0, 1],
      targetStrides: [0, frames * hidden, hidden, 1],
      targetOffset: tokens.size,
    });
    return all;
  }
}

/** Some tracks of tokens [tracks * frames, dim], frame by frame: [frames * count, dim]. */
function transposed(
  tokens: Tensor,
  { first, count, frames }: { first: number; count: number; frames: number },
): Tensor {
  const dim = tokens.dim(1);
  const result = tokens.device.tensor([frames * count, dim]);
  stridedCopy(tokens, result, {
    sizes: [1, frames, count, dim],
    sourceStrides: [0, dim, frames * dim, 1],
    sourceOffset: first * frames * dim,
    targetStrides: [0, count * dim, dim, 1],
  });
  return result;
}

/** Tokens [frames * count, dim] of two groups of tracks, track by track: [(a's + b's tracks) * frames, dim]. */
function joined(a: Tensor, b: Tensor, frames: number): Tensor {
  const dim = a.dim(1);
  const result = a.device.tensor([a.dim(0) + b.dim(0), dim]);
  let offset = 0;
  for (const group of [a, b]) {
    const count = group.dim(0) / frames;
    stridedCopy(group, result, {
      sizes: [1, frames, count, dim],
      sourceStrides: [0, count * dim, dim, 1],
      targetStrides: [0, dim, frames * dim, 1],
      targetOffset: offset,
    });
    offset += group.size;
  }
  return result;
}

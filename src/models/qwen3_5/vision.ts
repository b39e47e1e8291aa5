import { attention } from '../../kernels/attention.ts';
import { operandFor } from '../../kernels/blocks.ts';
import { headNormRope, type Rope } from '../../kernels/head_norm_rope.ts';
import { type Heads, heads } from '../../kernels/heads.ts';
import { layerNorm } from '../../kernels/layer_norm.ts';
import { linear } from '../../kernels/matmul.ts';
import { patchify } from '../../kernels/patchify.ts';
import { weightedRows } from '../../kernels/weighted_rows.ts';
import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Affine, linearWeights, normWeights } from '../affine.ts';
import type { Observe, Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import type { Qwen35VisionConfig } from './config.ts';
import type { Pixels } from './image_processor.ts';
import { patchTables } from './patch_tables.ts';
import { equalRuns, type Run } from './vision_positions.ts';

const EPS = 1e-6;

/** One block: attention inside each picture (or time group), then an MLP, both after a LayerNorm and with a residual. */
class VisionBlock {
  readonly norm1: Affine;
  readonly norm2: Affine;
  readonly qkv: Affine;
  readonly proj: Affine;
  readonly linear_fc1: Affine;
  readonly linear_fc2: Affine;

  constructor(
    weights: Weights,
    readonly config: Qwen35VisionConfig,
    readonly precision: Precision,
  ) {
    const { hidden_size, intermediate_size } = config;
    this.norm1 = normWeights(weights, 'norm1', hidden_size);
    this.norm2 = normWeights(weights, 'norm2', hidden_size);
    const matrices = weights.inBlocks(precision.operand);
    this.qkv = linearWeights(matrices, 'attn.qkv', 3 * hidden_size, hidden_size);
    this.proj = linearWeights(matrices, 'attn.proj', hidden_size, hidden_size);
    this.linear_fc1 = linearWeights(matrices, 'mlp.linear_fc1', intermediate_size, hidden_size);
    this.linear_fc2 = linearWeights(matrices, 'mlp.linear_fc2', hidden_size, intermediate_size);
  }

  forward(x: Tensor, rope: Rope, runs: readonly Run[]): Tensor {
    const { norm1, qkv, proj, norm2, linear_fc1: fc1, linear_fc2: fc2 } = this;
    const dtypeFor = ({ weight }: Affine) => operandFor(weight, this.precision.operand);
    const attended = this.#attention(layerNorm(x, { ...norm1, eps: EPS, dtype: dtypeFor(qkv) }), rope, runs);
    const h = linear(attended, proj.weight, { bias: proj.bias, residual: x });
    const normed = layerNorm(h, { ...norm2, eps: EPS, dtype: dtypeFor(fc1) });
    const inner = linear(normed, fc1.weight, { bias: fc1.bias, activation: 'gelu_tanh', dtype: dtypeFor(fc2) });
    return linear(inner, fc2.weight, { bias: fc2.bias, residual: h });
  }

  #attention(x: Tensor, rope: Rope, runs: readonly Run[]): Tensor {
    const { device } = x;
    const { hidden_size, num_heads } = this.config;
    const dim = hidden_size / num_heads;
    const tokens = x.dim(0);
    const { operand: dtype } = this.precision;
    const qkv = linear(x, this.qkv.weight, { bias: this.qkv.bias, dtype });
    const view = (tensor: Tensor, offset = 0) =>
      heads(tensor, { tokens, heads: num_heads, dim, tokenStride: tensor.dim(1), offset });
    const turned = (part: Heads) => {
      const result = view(device.tensor([tokens, hidden_size], dtype));
      headNormRope(part, result, { rope });
      return result;
    };
    const [q, k, v] = [turned(view(qkv)), turned(view(qkv, hidden_size)), view(qkv, 2 * hidden_size)];
    const variant = this.precision.attention;
    const options = { dtype, ...(variant && { variant }) };
    if (runs.length === 1) {
      const projected = operandFor(this.proj.weight, dtype);
      return attention(q, k, v, { ...options, dtype: projected, segments: runs[0]!.segments });
    }

    // Pictures of different sizes: one dispatch for each run of equal ones.
    const out = device.tensor([tokens, hidden_size], dtype);
    for (const run of runs) {
      const count = run.segments * run.tokens;
      const part = (whole: Heads) => ({
        ...whole,
        tokens: count,
        offset: whole.offset + run.start * whole.tokenStride,
      });
      const result = attention(part(q), part(k), part(v), { ...options, segments: run.segments });
      device.copy(result, 0, out, run.start * hidden_size, count * hidden_size);
    }
    return out;
  }
}

/** The vision tower (spec qwen3_5_vision.md section 5): patches of pictures to rows of the language model's input. */
export class VisionTower {
  readonly patch_embed: Affine;
  readonly pos_embed: Tensor;
  readonly blocks: readonly VisionBlock[];
  readonly merger: { readonly norm: Affine; readonly linear_fc1: Affine; readonly linear_fc2: Affine };

  constructor(
    weights: Weights,
    readonly config: Qwen35VisionConfig,
    readonly precision: Precision,
  ) {
    const { hidden_size, in_channels, temporal_patch_size, patch_size, spatial_merge_size, out_hidden_size } = config;
    const patch = [hidden_size, in_channels, temporal_patch_size, patch_size, patch_size];
    this.patch_embed = {
      weight: weights.matrix('patch_embed.proj.weight', patch),
      bias: weights.vector('patch_embed.proj.bias', [hidden_size]),
    };
    this.pos_embed = weights.matrix('pos_embed.weight', [config.num_position_embeddings, hidden_size]);
    this.blocks = Array.from(
      { length: config.depth },
      (_, i) => new VisionBlock(weights.at(`blocks.${i}`), config, precision),
    );
    const merged = hidden_size * spatial_merge_size ** 2;
    this.merger = {
      norm: normWeights(weights, 'merger.norm', hidden_size),
      linear_fc1: linearWeights(weights, 'merger.linear_fc1', merged, merged),
      linear_fc2: linearWeights(weights, 'merger.linear_fc2', out_hidden_size, merged),
    };
  }

  /**
   * @param pixels pictures or videos
   * @param hiddenStates indices of hidden states to return as well: 0 is the first block's input, n the output of block n - 1, negative from the end
   * @returns f32 [patches / merge^2, out_hidden_size], then the hidden states asked for, f32 [patches, hidden_size]
   */
  forward(
    device: Device,
    pixels: Pixels,
    { observe, hiddenStates = [] }: { observe?: Observe | undefined; hiddenStates?: readonly number[] } = {},
  ): Tensor[] {
    const { hidden_size, num_heads, num_position_embeddings, rope_parameters, depth } = this.config;
    return device.tidy(() => {
      const { index, weights, angles } = patchTables(device, pixels.gridThw, {
        side: Math.sqrt(num_position_embeddings),
        merge: this.config.spatial_merge_size,
        headDim: hidden_size / num_heads,
        theta: rope_parameters.rope_theta,
      });
      const rope = { table: angles, half: angles.dim(1), blocks: 1 };
      const runs = equalRuns(pixels.gridThw);

      let x = device.tidy(() => {
        const embedded = linear(this.#patches(device, pixels), this.patch_embed.weight, {
          bias: this.patch_embed.bias,
        });
        observe?.('vision.patch_embed', embedded);
        return weightedRows(this.pos_embed, index, weights, { addTo: embedded });
      });
      const wanted = hiddenStates.map((state) => (state < 0 ? depth + 1 + state : state));
      const states = new Map<number, Tensor>([[0, x]]);
      this.blocks.forEach((block, i) => {
        const input = x;
        x = device.tidy(() => block.forward(input, rope, runs));
        observe?.(`vision.block.${i}`, x);
        if (wanted.includes(i + 1)) states.set(i + 1, x);
        if (!wanted.includes(i)) device.dispose(input);
      });
      const merged = device.tidy(() => this.#merge(x));
      observe?.('vision.merged', merged);
      return [merged, ...wanted.map((state) => states.get(state)!)];
    });
  }

  /** Normalised patches, window by window: [patches, channels * time slices * rows * columns of a patch] in the operand dtype. */
  #patches(device: Device, { data, values, groupFrames, gridThw }: Pixels): Tensor {
    const { patch_size: patch, temporal_patch_size: time, spatial_merge_size: merge } = this.config;
    const bytes = device.upload(data, [data.length], 'u8');
    const table = device.upload(values, [3, 256], 'f32');
    return patchify(bytes, table, { patch, time, merge, groupFrames, grids: gridThw, dtype: this.precision.operand });
  }

  /** The four patches of a window side by side, through an MLP. */
  #merge(x: Tensor): Tensor {
    const { norm, linear_fc1, linear_fc2 } = this.merger;
    const dtype = this.precision.operand;
    const width = linear_fc1.weight.dim(1);
    const windows = layerNorm(x, { ...norm, eps: EPS, dtype }).reshape(x.size / width, width);
    const inner = linear(windows, linear_fc1.weight, { bias: linear_fc1.bias, activation: 'gelu_erf', dtype });
    return linear(inner, linear_fc2.weight, { bias: linear_fc2.bias });
  }
}

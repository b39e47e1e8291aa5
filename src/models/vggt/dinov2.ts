import { layerNorm } from '../../kernels/layer_norm.ts';
import { linear } from '../../kernels/matmul.ts';
import type { Device } from '../../tensor/device.ts';
import { DTYPE_BYTES } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Affine, normWeights } from '../affine.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import { Block } from './block.ts';
import type { VggtConfig } from './config.ts';
import { PositionEmbedding } from './position_embedding.ts';
import { atOnce } from './slices.ts';
import { copyTokens } from './tokens.ts';

/** Frames of one size, their sides multiples of the patch size. */
export interface FrameImages {
  /** [frames, 3, height, width] in 0..1. */
  readonly data: Float32Array;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
}

const CHANNELS = 3;
/** Mean and deviation of ImageNet's channels, by which the model was trained to see pictures. */
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];
const EPS = 1e-6;
/** Frames of a group: enough to fill a GPU, few enough that it begins while the CPU still cuts up the next ones. */
const MOST_FRAMES = 8;

/** The DINOv2 vision transformer with register tokens that turns every frame by itself into patch tokens (spec vggt.md section 3). */
export class DinoVisionTransformer {
  readonly #device: Device;
  readonly #patchSize: number;
  readonly #dim: number;
  readonly #registers: number;
  readonly #operand: Precision['operand'];
  readonly clsToken: Float32Array;
  readonly registerTokens: Float32Array;
  readonly positions: PositionEmbedding;
  readonly proj: Affine;
  readonly blocks: readonly Block[];
  readonly norm: Affine;

  constructor(weights: Weights, config: VggtConfig, precision: Precision) {
    const { embed_dim: dim, patch_size: patchSize, patch_embed } = config;
    const side = config.img_size / patchSize;
    this.#device = weights.device;
    this.#patchSize = patchSize;
    this.#dim = dim;
    this.#registers = patch_embed.num_register_tokens;
    this.#operand = precision.operand;
    this.clsToken = weights.host('cls_token', [1, 1, dim]);
    this.registerTokens =
      this.#registers === 0 ? new Float32Array() : weights.host('register_tokens', [1, this.#registers, dim]);
    this.positions = new PositionEmbedding(weights.host('pos_embed', [1, 1 + side * side, dim]), side, dim);
    this.proj = {
      weight: weights.matrix('patch_embed.proj.weight', [dim, CHANNELS, patchSize, patchSize]),
      bias: weights.vector('patch_embed.proj.bias', [dim]),
    };
    this.blocks = Array.from({ length: patch_embed.depth }, (_, i) => {
      const block = weights.at(`blocks.${i}`);
      // The configuration's mlp_ratio is that of the aggregator's blocks.
      const hidden = block.shape('mlp.fc1.weight')[0]!;
      return new Block(block, { dim, heads: patch_embed.num_heads, hidden, eps: EPS, qkNorm: false }, precision);
    });
    this.norm = normWeights(weights, 'norm', dim);
  }

  /** The patch tokens of every frame: f32 [frames, patches, dim]. Frames do not see each other: many pass a group at a time. */
  forward(images: FrameImages): Tensor {
    const { frames, height, width } = images;
    const device = this.#device;
    const patches = (height / this.#patchSize) * (width / this.#patchSize);
    const result = device.tensor([frames, patches, this.#dim]);
    const pixels = images.data.length / frames;
    const group = this.#framesAtOnce(patches);
    for (let first = 0; first < frames; first += group) {
      const count = Math.min(group, frames - first);
      const data = images.data.subarray(first * pixels, (first + count) * pixels);
      device.tidy(() => this.#group({ data, frames: count, height, width }, result, first * patches));
    }
    return result;
  }

  #framesAtOnce(patches: number): number {
    const tokens = 1 + this.#registers + patches;
    const inner = Math.max(3 * this.#dim, this.blocks[0]?.fc1.weight.dim(0) ?? 0) * DTYPE_BYTES[this.#operand];
    const pixels = CHANNELS * this.#patchSize ** 2 * DTYPE_BYTES.f32;
    return Math.min(MOST_FRAMES, atOnce(this.#device, tokens * Math.max(inner, pixels)));
  }

  /** Writes the patch tokens of some frames to `result`, from its token `target` on. */
  #group(images: FrameImages, result: Tensor, target: number): void {
    const { frames } = images;
    const device = this.#device;
    const specials = 1 + this.#registers;
    let tokens = device.tidy(() => this.#embed(images));
    for (const block of this.blocks) {
      const next = block.forward(tokens, { segments: frames });
      device.dispose(tokens);
      tokens = next;
    }
    const normed = layerNorm(tokens, { ...this.norm, eps: EPS });
    const perFrame = tokens.dim(0) / frames;
    const patches = perFrame - specials;
    const targets = { tensor: result, perFrame: patches, first: target };
    copyTokens({ tensor: normed, perFrame, first: specials }, targets, frames, patches);
  }

  /** Per frame the class token, the register tokens (which have no position) and the patches: [frames * tokens, dim]. */
  #embed(images: FrameImages): Tensor {
    const { frames, height, width } = images;
    const device = this.#device;
    const dim = this.#dim;
    const specials = 1 + this.#registers;
    const [rows, columns] = [height / this.#patchSize, width / this.#patchSize];
    const patches = rows * columns;
    const perFrame = specials + patches;

    const table = device.upload(this.positions.grid(rows, columns), [patches, dim], 'f32');
    const positions = device.tensor([frames * patches, dim]);
    copyTokens(
      { tensor: table, perFrame: 0, first: 0 },
      { tensor: positions, perFrame: patches, first: 0 },
      frames,
      patches,
    );
    const pixels = device.upload(
      normalisedPatches(images, this.#patchSize),
      [frames * patches, CHANNELS * this.#patchSize ** 2],
      'f32',
    );
    const embedded = linear(pixels, this.proj.weight, { bias: this.proj.bias, residual: positions });

    const special = new Float32Array(specials * dim);
    special.set(this.clsToken.map((value, i) => value + this.positions.cls[i]!));
    special.set(this.registerTokens, dim);
    const tokens = device.tensor([frames * perFrame, dim]);
    const target = { tensor: tokens, perFrame };
    copyTokens(
      { tensor: device.upload(special, [specials, dim], 'f32'), perFrame: 0, first: 0 },
      { ...target, first: 0 },
      frames,
      specials,
    );
    copyTokens({ tensor: embedded, perFrame: patches, first: 0 }, { ...target, first: specials }, frames, patches);
    return tokens;
  }
}

/**
 * The normalised pixels of every patch: [frames * patches, 3 * size * size], patches row by row, the values of one in the order channel,
 * row, column, so that the patch convolution is a linear layer.
 */
function normalisedPatches({ data, frames, height, width }: FrameImages, size: number): Float32Array {
  const out = new Float32Array(data.length);
  const columns = width / size;
  const patchValues = CHANNELS * size * size;
  let from = 0;
  for (let frame = 0; frame < frames; frame++) {
    for (let channel = 0; channel < CHANNELS; channel++) {
      const mean = MEAN[channel]!;
      const deviation = DEVIATION[channel]!;
      for (let y = 0; y < height; y++) {
        const firstPatch = (frame * (height / size) + Math.floor(y / size)) * columns;
        const within = (channel * size + (y % size)) * size;
        for (let column = 0; column < columns; column++) {
          const to = (firstPatch + column) * patchValues + within;
          for (let x = 0; x < size; x++) out[to + x] = (data[from++]! - mean) / deviation;
        }
      }
    }
  }
  return out;
}

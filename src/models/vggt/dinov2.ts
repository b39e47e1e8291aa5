import { layerNorm } from '../../kernels/layer_norm.ts';
import { linear } from '../../kernels/matmul.ts';
import { patchify, patchWidth } from '../../kernels/patchify.ts';
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
  /** RGB bytes [frames, height, width, 3], or values in 0..1 [frames, 3, height, width]. */
  readonly data: Uint8Array | Float32Array;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
}

const CHANNELS = 3;
/** Mean and deviation of ImageNet's channels, by which the model was trained to see pictures. */
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];
/** (value - mean) / deviation of every byte of each channel, in the float32 steps of the original. */
const BYTE_VALUES = Float32Array.from({ length: 3 * 256 }, (_, i) => {
  const channel = i >> 8;
  return (Math.fround((i & 255) / 255) - MEAN[channel]!) / DEVIATION[channel]!;
});
/** Patches of single frames, row by row. */
const PLAIN = { time: 1, merge: 1, groupFrames: 1 } as const;
const EPS = 1e-6;

/** What every frame of one size begins with. */
interface FixedTokens {
  /** The class token at its position and the register tokens: f32 [1 + registers, dim]. */
  readonly special: Tensor;
  /** Positions of the patches: f32 [patches, dim]. */
  readonly positions: Tensor;
}

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
      weight: weights.padded(
        'patch_embed.proj.weight',
        [dim, CHANNELS, patchSize, patchSize],
        patchWidth({ patch: patchSize, time: 1 }),
      ),
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

  /** The patch tokens of every frame: f32 [frames, patches, dim]. Frames do not see each other: very many pass in a few groups. */
  forward(images: FrameImages): Tensor {
    const { frames, height, width } = images;
    const device = this.#device;
    const [rows, columns] = [height / this.#patchSize, width / this.#patchSize];
    const patches = rows * columns;
    const pixels = images.data.length / frames;
    const group = Math.ceil(frames / Math.ceil(frames / this.#framesAtOnce(patches)));
    return device.tidy(() => {
      const result = device.tensor([frames, patches, this.#dim]);
      const fixed = this.#fixedTokens(rows, columns);
      for (let first = 0; first < frames; first += group) {
        const count = Math.min(group, frames - first);
        const data = images.data.subarray(first * pixels, (first + count) * pixels);
        device.tidy(() => this.#group({ data, frames: count, height, width }, fixed, result, first * patches));
      }
      return result;
    });
  }

  #framesAtOnce(patches: number): number {
    const tokens = 1 + this.#registers + patches;
    const inner = Math.max(3 * this.#dim, this.blocks[0]?.fc1.weight.dim(0) ?? 0) * DTYPE_BYTES[this.#operand];
    const pixels = patchWidth({ patch: this.#patchSize, time: 1 }) * DTYPE_BYTES[this.#operand];
    return atOnce(this.#device, tokens * Math.max(inner, pixels));
  }

  /** Writes the patch tokens of some frames to `result`, from its token `target` on. */
  #group(images: FrameImages, fixed: FixedTokens, result: Tensor, target: number): void {
    const { frames } = images;
    const device = this.#device;
    const specials = 1 + this.#registers;
    let tokens = device.tidy(() => this.#embed(images, fixed));
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

  #fixedTokens(rows: number, columns: number): FixedTokens {
    const device = this.#device;
    const dim = this.#dim;
    const specials = 1 + this.#registers;
    const special = new Float32Array(specials * dim);
    special.set(this.clsToken.map((value, i) => value + this.positions.cls[i]!));
    special.set(this.registerTokens, dim);
    return {
      special: device.upload(special, [specials, dim], 'f32'),
      positions: device.upload(() => this.positions.grid(rows, columns), [rows * columns, dim], 'f32'),
    };
  }

  /** Per frame the class token, the register tokens (which have no position) and the patches: [frames * tokens, dim]. */
  #embed(images: FrameImages, { special, positions }: FixedTokens): Tensor {
    const { frames } = images;
    const device = this.#device;
    const dim = this.#dim;
    const [specials, patches] = [special.dim(0), positions.dim(0)];
    const perFrame = specials + patches;

    const placed = device.tensor([frames * patches, dim]);
    copyTokens(
      { tensor: positions, perFrame: 0, first: 0 },
      { tensor: placed, perFrame: patches, first: 0 },
      frames,
      patches,
    );
    const embedded = linear(this.#patches(images), this.proj.weight, { bias: this.proj.bias, residual: placed });

    const tokens = device.tensor([frames * perFrame, dim]);
    const target = { tensor: tokens, perFrame };
    copyTokens({ tensor: special, perFrame: 0, first: 0 }, { ...target, first: 0 }, frames, specials);
    copyTokens({ tensor: embedded, perFrame: patches, first: 0 }, { ...target, first: specials }, frames, patches);
    return tokens;
  }

  /** Normalised patches, row by row: [frames * patches, inputs of the patch embedding] in the operand dtype. */
  #patches({ data, frames, height, width }: FrameImages): Tensor {
    const device = this.#device;
    const patch = this.#patchSize;
    const isBytes = data instanceof Uint8Array;
    const pixels = device.upload(data, [data.length], isBytes ? 'u8' : 'f32');
    const values = isBytes
      ? device.upload(BYTE_VALUES, [CHANNELS, 256], 'f32')
      : device.upload(Float32Array.of(...MEAN, ...DEVIATION), [2, CHANNELS], 'f32');
    const grids = [[frames, height / patch, width / patch]] as const;
    return patchify(pixels, values, { ...PLAIN, patch, grids, dtype: this.#operand });
  }
}

import { InputError } from '../../io/errors.ts';
import type { Rope } from '../../kernels/head_norm_rope.ts';
import type { Device } from '../../tensor/device.ts';
import { DTYPE_BYTES } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Observe, Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import { Block, type BlockConfig } from './block.ts';
import type { VggtConfig } from './config.ts';
import { DinoVisionTransformer, type FrameImages } from './dinov2.ts';
import { ropeTable } from './position_embedding.ts';
import { concatChannels, copyTokens } from './tokens.ts';

export type { FrameImages } from './dinov2.ts';

/**
 * The backbone of VGGT (Wang et al. 2025; spec vggt.md section 4): patch tokens of all frames, with a camera token and register tokens
 * before each frame's, pass alternately through blocks that attend inside each frame and blocks that attend over all frames.
 */
export class Aggregator {
  /** Index of a frame's first patch token; the camera token is 0 and the register tokens follow. */
  readonly patchStart: number;
  readonly #device: Device;
  readonly #config: VggtConfig;
  readonly patchEmbed: DinoVisionTransformer;
  /** [2, 1, dim] and [2, registers, dim]: a set for the first frame and one for all others. */
  readonly cameraToken: Float32Array;
  readonly registerToken: Float32Array;
  readonly frameBlocks: readonly Block[];
  readonly globalBlocks: readonly Block[];

  /** @throws InputError when the checkpoint lacks a weight or has one of another shape */
  constructor(weights: Weights, config: VggtConfig, precision: Precision) {
    const { embed_dim: dim, num_register_tokens: registers } = config;
    this.#device = weights.device;
    this.#config = config;
    this.patchStart = 1 + registers;
    this.patchEmbed = new DinoVisionTransformer(weights.at('patch_embed'), config, precision);
    this.cameraToken = weights.host('camera_token', [1, 2, 1, dim]);
    this.registerToken = registers === 0 ? new Float32Array() : weights.host('register_token', [1, 2, registers, dim]);
    const sizes: BlockConfig = {
      dim,
      heads: config.num_heads,
      hidden: dim * config.mlp_ratio,
      eps: 1e-5,
      qkNorm: true,
    };
    const blocks = (name: string): Block[] =>
      Array.from({ length: config.depth }, (_, i) => new Block(weights.at(`${name}.${i}`), sizes, precision));
    this.frameBlocks = blocks('frame_blocks');
    this.globalBlocks = blocks('global_blocks');
  }

  /**
   * The outputs of the wanted layers, in the order asked (a negative index counts from the end): f32 [frames, tokens, 2 * dim], the frame
   * block's result beside the global block's. Layers after the last wanted one are not computed. `observe` sees `patch_embed` and
   * `aggregated.N` of every layer computed.
   * @throws InputError for pictures that do not fit the patch size, more of them than the device can treat and layers that do not exist
   */
  forward(images: FrameImages, layers: readonly number[], observe?: Observe): Tensor[] {
    const { frames } = images;
    const device = this.#device;
    const dim = this.#config.embed_dim;
    checkImages(images, this.#config.patch_size);
    this.#checkCount(images);
    const wanted = layers.map((layer) => this.#layerIndex(layer));

    return device.tidy(() => {
      let tokens = device.tidy(() => this.#embed(images, observe));
      const rope = this.#rope(images);
      const perFrame = tokens.dim(0) / frames;
      const outputs = new Map<number, Tensor>();
      for (let i = 0; i <= Math.max(...wanted); i++) {
        const [next, output] = device.tidy(() => {
          const inFrames = this.frameBlocks[i]!.forward(tokens, { segments: frames, rope });
          const overall = this.globalBlocks[i]!.forward(inFrames, { segments: 1, rope });
          if (!wanted.includes(i) && observe === undefined) return [overall];
          const joined = concatChannels(inFrames, overall).reshape(frames, perFrame, 2 * dim);
          observe?.(`aggregated.${i}`, joined);
          return wanted.includes(i) ? [overall, joined] : [overall];
        });
        device.dispose(tokens);
        tokens = next!;
        if (output !== undefined) outputs.set(i, output);
      }
      return wanted.map((i) => outputs.get(i)!);
    });
  }

  /**
   * What attends over all frames reads whole tensors of [tokens, dim], so these have to be bound at once; nothing wider is (slices.ts). Where 2 GiB can be bound
   * that is 503 frames of 392 x 518. GPU memory beside the weights, for 200 of them in the default mode: 0.85 GB for tokens before a block, after its attention
   * and after it, 1.3 GB for queries, keys and values, up to 1 GB for slices, and 1.7 GB for each of the four outputs that heads read.
   */
  #checkCount({ frames, height, width }: FrameImages): void {
    const { embed_dim: dim, patch_size: patch } = this.#config;
    const bytes = (this.patchStart + (height / patch) * (width / patch)) * dim * DTYPE_BYTES.f32;
    const most = Math.floor(this.#device.limits.maxStorageBufferBindingSize / bytes);
    if (frames <= most) return;
    throw new InputError(
      `expected at most ${most} frames of ${width} x ${height} pixels, whose tokens ${this.#device.opened.name} can bind at once, found ${frames}.`,
    );
  }

  #layerIndex(layer: number): number {
    const { depth } = this.#config;
    const index = layer < 0 ? layer + depth : layer;
    if (Number.isInteger(index) && index >= 0 && index < depth) return index;
    throw new InputError(`expected a VGGT layer from ${-depth} to ${depth - 1}, found ${layer}.`);
  }

  /** Camera, register and patch tokens of every frame: [frames * tokens, dim]. */
  #embed(images: FrameImages, observe?: Observe): Tensor {
    const { frames } = images;
    const device = this.#device;
    const dim = this.#config.embed_dim;
    const specials = this.patchStart;
    const patchTokens = this.patchEmbed.forward(images);
    observe?.('patch_embed', patchTokens);
    const patches = patchTokens.dim(1);
    const special = device.upload(() => this.#specialTokens(frames), [frames * specials, dim], 'f32');
    const perFrame = specials + patches;
    const target = { tensor: device.tensor([frames * perFrame, dim]), perFrame };
    copyTokens({ tensor: special, perFrame: specials, first: 0 }, { ...target, first: 0 }, frames, specials);
    copyTokens({ tensor: patchTokens, perFrame: patches, first: 0 }, { ...target, first: specials }, frames, patches);
    return target.tensor;
  }

  /** [frames, patchStart, dim]: the first frame, whose camera is the frame of reference, has tokens of its own. */
  #specialTokens(frames: number): Float32Array {
    const dim = this.#config.embed_dim;
    const registers = this.#config.num_register_tokens * dim;
    const out = new Float32Array(frames * this.patchStart * dim);
    for (let frame = 0; frame < frames; frame++) {
      const set = frame === 0 ? 0 : 1;
      const start = frame * this.patchStart * dim;
      out.set(this.cameraToken.subarray(set * dim, (set + 1) * dim), start);
      out.set(this.registerToken.subarray(set * registers, (set + 1) * registers), start + dim);
    }
    return out;
  }

  /** The angles of one frame, repeated for every one. */
  #rope({ frames, height, width }: FrameImages): Rope {
    const { embed_dim, num_heads, patch_size, rope_freq } = this.#config;
    const [rows, columns] = [height / patch_size, width / patch_size];
    const headDim = embed_dim / num_heads;
    const specialTokens = this.patchStart;
    const values = () => ropeTable({ specialTokens, rows, columns, headDim, base: rope_freq });
    const perFrame = specialTokens + rows * columns;
    const one = this.#device.upload(values, [perFrame, headDim], 'f32');
    const table = this.#device.tensor([frames * perFrame, headDim]);
    copyTokens({ tensor: one, perFrame: 0, first: 0 }, { tensor: table, perFrame, first: 0 }, frames, perFrame);
    return { table: table.reshape(frames * perFrame, headDim / 2, 2), half: headDim / 4, blocks: 2 };
  }
}

function checkImages({ data, frames, height, width }: FrameImages, patch: number): void {
  const isSide = (size: number): boolean => Number.isInteger(size) && size > 0 && size % patch === 0;
  if (!isSide(height) || !isSide(width)) {
    throw new InputError(`expected frames whose sides are multiples of ${patch} pixels, found ${width} x ${height}.`);
  }
  if (!Number.isInteger(frames) || frames < 1 || data.length !== frames * 3 * height * width) {
    throw new InputError(
      `expected the 3 x ${height} x ${width} values of at least one frame, found ${data.length} values for ${frames} frames.`,
    );
  }
}

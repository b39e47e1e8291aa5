import { InputError } from '../../io/errors.ts';
import { blocksFirst, convTranspose2d } from '../../kernels/conv_transpose2d.ts';
import { type Conv2dOptions, type Conv2dVariant, conv2d, tapsFirst } from '../../kernels/conv2d.ts';
import { layerNorm, type RowPattern } from '../../kernels/layer_norm.ts';
import { resizeBilinear } from '../../kernels/resize_bilinear.ts';
import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Affine, normWeights } from '../affine.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import { uvPositions } from './uv_positions.ts';

/** Sizes of a DPT. */
export interface DptConfig {
  /** Width of the tokens it reads. */
  readonly tokenDim: number;
  /** Channels of the fused maps. */
  readonly features: number;
  /** Channels of the four maps before they are brought to `features`. */
  readonly outChannels: readonly number[];
  /** Channels of the result. */
  readonly outputs: number;
  /** Whether every pixel is told its place. */
  readonly hasPositions: boolean;
}

/** Patches of a frame, and the pixels of a patch's side. */
export interface PatchGrid {
  readonly rows: number;
  readonly columns: number;
  readonly patchSize: number;
}

/** `count` frames of a layer's, from frame `first` on, of whose tokens the first `specials` are no patches. */
export interface SomeFrames {
  readonly first: number;
  readonly count: number;
  readonly specials: number;
}

/** Frames processed together: enough to fill a GPU, few enough that their maps stay small. */
const MOST_FRAMES = 8;
const EPS = 1e-5;
const PADDING = 1;

/** A convolution's weight [outputs, inputs, k, k] as `conv2d` reads it, and its bias if it has one. */
export class Convolution {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly #variant: Conv2dVariant;

  constructor(weights: Weights, name: string, shape: readonly number[], { operand }: Precision, hasBias = true) {
    this.#variant = operand === 'f16' ? 'subgroup_matrix' : 'register';
    this.weight = weights.forOperands(operand).permuted(`${name}.weight`, shape, tapsFirst);
    this.bias = hasBias ? weights.vector(`${name}.bias`, [shape[0]!]) : undefined;
  }

  forward(x: Tensor, options: Omit<Conv2dOptions, 'bias' | 'variant'> = {}): Tensor {
    return conv2d(x, this.weight, { ...options, variant: this.#variant, ...(this.bias && { bias: this.bias }) });
  }
}

/** A transposed convolution's weight [inputs, outputs, k, k] as `convTranspose2d` reads it, and its bias. */
class TransposedConvolution {
  readonly weight: Tensor;
  readonly bias: Tensor;

  constructor(weights: Weights, name: string, shape: readonly number[], { operand }: Precision) {
    this.weight = weights.forOperands(operand).permuted(`${name}.weight`, shape, blocksFirst);
    this.bias = weights.vector(`${name}.bias`, [shape[1]!]);
  }

  forward(x: Tensor): Tensor {
    return convTranspose2d(x, this.weight, this.bias);
  }
}

/** Two convolutions beside a skip connection: conv2(relu(conv1(relu(x)))) + relu(x). The ReLU on the skip is the original's in-place ReLU. */
class ResidualConvUnit {
  readonly conv1: Convolution;
  readonly conv2: Convolution;
  readonly #precision: Precision;

  constructor(weights: Weights, features: number, precision: Precision) {
    const shape = [features, features, 3, 3];
    this.conv1 = new Convolution(weights, 'conv1', shape, precision);
    this.conv2 = new Convolution(weights, 'conv2', shape, precision);
    this.#precision = precision;
  }

  /** The unit's result, plus `addend` where given. */
  forward(x: Tensor, addend?: Tensor): Tensor {
    return x.device.tidy(() => {
      const hidden = this.conv1.forward(x, {
        padding: PADDING,
        inputRelu: true,
        relu: true,
        dtype: this.#precision.operand,
      });
      return this.conv2.forward(hidden, {
        padding: PADDING,
        residual: x,
        residualRelu: true,
        ...(addend && { addend }),
      });
    });
  }
}

/** Joins a coarse map with the next finer one and brings it to another size. */
class FeatureFusionBlock {
  readonly resConfUnit1: ResidualConvUnit | undefined;
  readonly resConfUnit2: ResidualConvUnit;
  readonly outConv: Convolution;

  constructor(weights: Weights, features: number, precision: Precision, joins: boolean) {
    this.resConfUnit1 = joins ? new ResidualConvUnit(weights.at('resConfUnit1'), features, precision) : undefined;
    this.resConfUnit2 = new ResidualConvUnit(weights.at('resConfUnit2'), features, precision);
    this.outConv = new Convolution(weights, 'out_conv', [features, features, 1, 1], precision);
  }

  /** `coarse` with `finer` (none in the coarsest block), at `size` [height, width]. */
  forward(coarse: Tensor, finer: Tensor | undefined, size: readonly [number, number]): Tensor {
    return coarse.device.tidy(() => {
      const joined = finer === undefined ? coarse : this.resConfUnit1!.forward(finer, coarse);
      // The original resizes first. A 1x1 convolution and an interpolation, whose weights sum to 1, may change places: here on a quarter of the pixels.
      return resizeBilinear(this.outConv.forward(this.resConfUnit2.forward(joined)), size);
    });
  }
}

/**
 * How a device runs a DPT: on f16 operands, which keep as many digits as the TF32 of PyTorch's convolutions on NVIDIA cards, only where the mode
 * allows it and matrix units multiply them; elsewhere it gains nothing.
 */
function convolutionPrecision(
  device: Device,
  { outChannels, features, outputs }: DptConfig,
  precision: Precision,
): Precision {
  const isFast =
    device.multipliesMatrices && [...outChannels, features, outputs].every((channels) => channels % 8 === 0);
  return isFast ? precision : { ...precision, operand: 'f32' };
}

/**
 * The dense prediction transformer's convolutional decoder (Ranftl et al. 2021; spec vggt.md section 6): tokens of four layers become maps of four
 * sizes, which are fused from coarse to fine. Weights are named as in the checkpoint, channels come last in every map.
 */
export class Dpt {
  readonly config: DptConfig;
  readonly precision: Precision;
  readonly norm: Affine;
  readonly projects: readonly Convolution[];
  readonly resizeLayer0: TransposedConvolution;
  readonly resizeLayer1: TransposedConvolution;
  readonly resizeLayer3: Convolution;
  readonly layerRn: readonly Convolution[];
  /** refinenet1 .. refinenet4. */
  readonly refinenets: readonly FeatureFusionBlock[];
  readonly outputConv1: Convolution;
  readonly #device: Device;

  /** @throws InputError when the checkpoint lacks a weight or has one of another shape */
  constructor(weights: Weights, config: DptConfig, precision: Precision) {
    const { tokenDim, features, outChannels, outputs } = config;
    const convolutions = convolutionPrecision(weights.device, config, precision);
    const [c0, c1, , c3] = outChannels as [number, number, number, number];
    const conv = (name: string, shape: number[], hasBias = true) =>
      new Convolution(weights, name, shape, convolutions, hasBias);
    this.#device = weights.device;
    this.config = config;
    this.precision = convolutions;
    this.norm = normWeights(weights, 'norm', tokenDim);
    this.projects = outChannels.map((channels, n) => conv(`projects.${n}`, [channels, tokenDim, 1, 1]));
    this.resizeLayer0 = new TransposedConvolution(weights, 'resize_layers.0', [c0, c0, 4, 4], convolutions);
    this.resizeLayer1 = new TransposedConvolution(weights, 'resize_layers.1', [c1, c1, 2, 2], convolutions);
    this.resizeLayer3 = conv('resize_layers.3', [c3, c3, 3, 3]);
    this.layerRn = outChannels.map((channels, n) =>
      conv(`scratch.layer${n + 1}_rn`, [features, channels, 3, 3], false),
    );
    this.refinenets = outChannels.map(
      (_, n) => new FeatureFusionBlock(weights.at(`scratch.refinenet${n + 1}`), features, convolutions, n < 3),
    );
    this.outputConv1 = conv('scratch.output_conv1', [outputs, features, 3, 3]);
  }

  /** Frames that may be processed together. @throws InputError when not even one frame's maps can be bound */
  framesAtOnce({ rows, columns, patchSize }: PatchGrid): number {
    const { features, outChannels } = this.config;
    // The largest maps: the last fusion at 8 x 8 pixels a patch, the finest layer at 4 x 4.
    const bytes = 4 * rows * columns * Math.max(64 * features, 16 * outChannels[0]!, 4 * outChannels[1]!);
    const fitting = Math.floor(this.#device.limits.maxStorageBufferBindingSize / bytes);
    if (fitting > 0) return Math.min(MOST_FRAMES, fitting);
    throw new InputError(
      `expected frames whose maps fit into ${this.#device.limits.maxStorageBufferBindingSize} bytes, the largest binding of ${this.#device.opened.name}; frames of ${columns * patchSize} x ${rows * patchSize} pixels need ${bytes}.`,
    );
  }

  /** Position embedding of a map of this size [height, width], as `resizeBilinear` adds it; none where the head has none. */
  positions(
    [height, width]: readonly [number, number],
    channels: number,
    { rows, columns }: PatchGrid,
  ): { positions?: Tensor } {
    if (!this.config.hasPositions) return {};
    const values = () => uvPositions(height, width, channels, columns / rows);
    return { positions: this.#device.upload(values, [width + height, channels / 2], 'f32') };
  }

  /** Some frames of the four layers, each f32 [frames, tokens, tokenDim], to their fused map f32 [count, 8 * rows, 8 * columns, outputs]. */
  forward(layers: readonly Tensor[], some: SomeFrames, grid: PatchGrid): Tensor {
    return this.#device.tidy(() => {
      const maps = layers.map((layer, n) => this.#device.tidy(() => this.#map(layer, some, n, grid)));
      const sizes = maps.map((map) => [map.dim(1), map.dim(2)] as const);
      const [height, width] = sizes[0]!;
      const targets = [[2 * height, 2 * width] as const, ...sizes];
      let fused = maps[3]!;
      for (const n of [3, 2, 1, 0]) {
        const next = this.refinenets[n]!.forward(fused, n === 3 ? undefined : maps[n]!, targets[n]!);
        this.#device.dispose(fused);
        fused = next;
      }
      return this.outputConv1.forward(fused, { padding: PADDING });
    });
  }

  /** The map of layer n with `features` channels: [frames, height, width, features]. */
  #map(layer: Tensor, some: SomeFrames, n: number, grid: PatchGrid): Tensor {
    const { rows, columns } = grid;
    const channels = this.config.outChannels[n]!;
    const { part, rows: patches } = patchRows(layer, some);
    const normed = layerNorm(part, { ...this.norm, eps: EPS, dtype: this.precision.operand, rows: patches });
    const size = [rows, columns] as const;
    const projected = this.projects[n]!.forward(normed.reshape(some.count, rows, columns, layer.dim(-1)));
    const placed = this.config.hasPositions
      ? resizeBilinear(projected, size, this.positions(size, channels, grid))
      : projected;
    return this.layerRn[n]!.forward(this.#resize(placed, n), { padding: PADDING });
  }

  #resize(x: Tensor, n: number): Tensor {
    if (n === 0) return this.resizeLayer0.forward(x);
    if (n === 1) return this.resizeLayer1.forward(x);
    if (n === 2) return x;
    return this.resizeLayer3.forward(x, { stride: 2, padding: PADDING });
  }
}

/** The patches' tokens of some frames: rows of a part of the layer that begins where a binding may. The whole may be larger than a binding. */
function patchRows(layer: Tensor, { first, count, specials }: SomeFrames): { part: Tensor; rows: RowPattern } {
  const [frames, tokens, dim] = layer.shape as [number, number, number];
  const alignment = layer.device.limits.minStorageBufferOffsetAlignment;
  let begin = first * tokens;
  while ((layer.offset + 4 * begin * dim) % alignment !== 0) begin -= 1;
  const end = (first + count) * tokens;
  const rows = { first: first * tokens - begin + specials, count: tokens - specials, every: tokens, groups: count };
  return { part: layer.reshape(frames * tokens, dim).rows(begin, end - begin), rows };
}

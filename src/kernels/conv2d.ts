import type { Device } from '../tensor/device.ts';
import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape, type ResultDtype } from './checks.ts';
import type { Permutation } from './permute.ts';
import { tileFor, tunable } from './tuning.ts';

/** Rows and columns of zeros around the picture. */
export interface Padding {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** What surrounds the sum: `addend + residual + relu(conv(x) + bias)`. */
export interface Conv2dOptions {
  /** [O] f32. */
  readonly bias?: Tensor;
  /** Step of the kernel: 1 unless given. */
  readonly stride?: 1 | 2;
  /** The same on all sides if a number; 0 unless given. */
  readonly padding?: number | Padding;
  /** Replaces x by max(x, 0). */
  readonly inputRelu?: boolean;
  /** Replaces the sum by max(sum, 0). */
  readonly relu?: boolean;
  /** f32 like the result, added after `relu`. */
  readonly residual?: Tensor;
  /** Replaces the residual by max(residual, 0). */
  readonly residualRelu?: boolean;
  /** f32 like the result, added last. */
  readonly addend?: Tensor;
  readonly dtype?: ResultDtype;
  /** `register` (f32 arithmetic) unless given; `subgroup_matrix` rounds the operands to f16. */
  readonly variant?: Conv2dVariant;
}

/** The rungs of the ladder. */
export const CONV2D_VARIANTS = ['register', 'subgroup_matrix'] as const;
export type Conv2dVariant = (typeof CONV2D_VARIANTS)[number];

/** Channels of a convolution's pictures and of its result. */
export interface ConvolutionOf {
  readonly channels: number;
  readonly outputs: number;
  /** Of the result; f32 unless given. */
  readonly dtype?: ResultDtype;
}

/** Whether a variant can do a convolution on this device. */
export function conv2dSupports(device: Device, variant: Conv2dVariant, convolution: ConvolutionOf): boolean {
  const { channels, outputs, dtype = 'f32' } = convolution;
  if (variant === 'register') return channels % 4 === 0 && outputs % 4 === 0 && dtype === 'f32';
  return channels % 8 === 0 && outputs % (dtype === 'f16' ? 8 : 4) === 0 && device.multipliesMatrices;
}

/** Dtype of a variant's weights. */
export function conv2dOperand(variant: Conv2dVariant): ResultDtype {
  return variant === 'subgroup_matrix' ? 'f16' : 'f32';
}

/** A weight [O, C, k, k], as PyTorch stores it, in the order in which `conv2d` sums: neighbouring channels lie side by side in x. */
export function tapsFirst([outputs, channels, kernel]: readonly number[]): Permutation {
  const [o, c, k] = [outputs!, channels!, kernel!];
  return { from: [o, c, k * k], order: [0, 2, 1], shape: [o, k, k, c] };
}

/**
 * Convolution with channels last, so that the channels of a pixel are read together, a 1x1 convolution is `linear` and a norm over channels is
 * `layerNorm`: x [S, H, W, C] f32 (f16 too for `subgroup_matrix`), weight [O, k, k, C] (see `tapsFirst`) in the variant's `conv2dOperand`; result
 * [S, OH, OW, O] with OH = floor((H + top + bottom - k) / stride) + 1. C and O are multiples of 4. @throws KernelError
 */
export function conv2d(x: Tensor, weight: Tensor, options: Conv2dOptions = {}): Tensor {
  const { bias, stride = 1, residual, addend, dtype = 'f32', variant = 'register' } = options;
  const { device } = x;
  expectDtype('conv2d', 'x', x, 'f32', ...(variant === 'register' ? [] : (['f16'] as const)));
  if (
    x.shape.length !== 4 ||
    weight.shape.length !== 4 ||
    weight.dim(3) !== x.dim(3) ||
    weight.dim(1) !== weight.dim(2)
  ) {
    throw new KernelError(`conv2d: x ${described(x)} does not fit weight ${described(weight)}`);
  }
  const [frames, height, width, channels] = x.shape as [number, number, number, number];
  const [outputs, kernel] = weight.shape as [number, number];
  const { top, bottom, left, right } = sides(options.padding ?? 0);
  const outHeight = Math.floor((height + top + bottom - kernel) / stride) + 1;
  const outWidth = Math.floor((width + left + right - kernel) / stride) + 1;
  const shape = [frames, outHeight, outWidth, outputs];
  if (outputs % 4 !== 0 || outHeight < 1 || outWidth < 1) {
    throw new KernelError(`conv2d: x ${described(x)} by weight ${described(weight)} would give [${shape}]`);
  }
  const wantsMatrices = variant === 'subgroup_matrix';
  if (!conv2dSupports(device, variant, { channels, outputs, dtype })) {
    throw new KernelError(`conv2d: variant ${variant} cannot convolve ${described(x)} to ${dtype} on this device`);
  }
  expectDtype('conv2d', 'weight', weight, conv2dOperand(variant));
  if (options.inputRelu && x.dtype === 'f16') throw new KernelError('conv2d: inputRelu needs x in f32');
  if (bias !== undefined) expectShape('conv2d', 'bias', bias, [outputs]);
  for (const [name, tensor] of Object.entries({ residual, addend })) {
    if (tensor === undefined) continue;
    expectDtype('conv2d', name, tensor, 'f32');
    expectShape('conv2d', name, tensor, shape);
  }

  const out = device.tensor(shape, dtype);
  const pixels = frames * outHeight * outWidth;
  const tiling = wantsMatrices ? matrixTiling(device, pixels, outputs) : registerTiling(device, pixels, outputs);
  device.run({
    kernel: `conv2d/${variant}`,
    label: `conv2d/${variant} ${kernel}x${kernel} ${channels} to ${outputs}`,
    constants: {
      ...(wantsMatrices && { X_F16: x.dtype === 'f16', OUT_F16: dtype === 'f16' }),
      ...tiling.constants,
    },
    bindings: [x, weight, bias ?? x, residual ?? x, addend ?? x, out],
    params: {
      pixels,
      height,
      width,
      channels,
      out_height: outHeight,
      out_width: outWidth,
      out_channels: outputs,
      pad_top: top,
      pad_left: left,
      kernel,
      stride,
      flags: flags(options),
      never: 0,
    },
    workgroups: grid(tiling.workgroups),
    work: () => ({ flops: 2 * out.size * channels * kernel ** 2 }),
  });
  return out;
}

/** Bits of `params.flags` in wgsl/conv2d/epilogue.wgsl. */
function flags({ bias, inputRelu, relu, residual, residualRelu, addend }: Conv2dOptions): number {
  const bits = [bias !== undefined, inputRelu, relu, residual !== undefined, residualRelu, addend !== undefined];
  return bits.reduce((sum, isSet, bit) => sum + (isSet ? 2 ** bit : 0), 0);
}

function sides(padding: number | Padding): Padding {
  if (typeof padding !== 'number') return padding;
  return { top: padding, bottom: padding, left: padding, right: padding };
}

interface Tiling {
  readonly constants: Record<string, number>;
  readonly workgroups: number;
}

/** Tiles of the register variant: products of a thread, pixels by channels, and threads side by side. The smaller one where the first gave few workgroups. */
const REGISTER_TILES = [
  { ROWS: 8, COLUMNS: 4, LANES_X: 16 },
  { ROWS: 4, COLUMNS: 4, LANES_X: 16 },
] as const;
const REGISTER_WORKGROUPS = 200;
const REGISTER_THREADS = 128;

function registerTiling(device: Device, pixels: number, outputs: number): Tiling {
  const tiles = REGISTER_TILES.map((tile): Tiling => {
    // A wide tile over few channels would mostly compute nothing.
    const constants = outputs <= 32 ? { ...tile, LANES_X: 8 } : tile;
    const rows = constants.ROWS * (REGISTER_THREADS / constants.LANES_X);
    const columns = constants.COLUMNS * constants.LANES_X;
    return { constants, workgroups: Math.ceil(pixels / rows) * Math.ceil(outputs / columns) };
  });
  const [large, small] = tiles as [Tiling, Tiling];
  // A CPU compiles the small tile sooner and gains nothing from the other.
  return large.workgroups >= REGISTER_WORKGROUPS && !device.opened.isSoftware ? large : small;
}

/**
 * Tiles of the subgroup-matrix variant and how many workgroups make each worth it. The large one is matmul's; two of its workgroups share a processor. Where it
 * would not even give every processor one (132 on the cards measured), one with twice the subgroups is faster (128 and 130 workgroups; with 34
 * the small ones are, and nothing between was measured).
 */
const LARGE_MATRIX_TILE = { ROWS: 4, COLUMNS: 4, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 };
const MIDDLE_MATRIX_TILE = { ROWS: 2, COLUMNS: 4, GRID_ROWS: 4, GRID_COLUMNS: 2, STEP: 64 };
/** Workgroup memory of the latter: 128 rows of x and of w, nine vec4s each. */
const MIDDLE_MATRIX_BYTES = 2 * 128 * 9 * 16;
const LARGE_MATRIX_WORKGROUPS = 133;
const MIDDLE_MATRIX_WORKGROUPS = 67;
/** Smaller ones for fewer pixels, and narrow ones for few channels. */
const SMALL_MATRIX_TILES = tunable('conv2d/subgroup_matrix small', [
  { ROWS: 2, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 64 },
  { ROWS: 2, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 },
  { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 },
]);
const NARROW_MATRIX_TILES = tunable('conv2d/subgroup_matrix narrow', [
  { ROWS: 2, COLUMNS: 2, GRID_ROWS: 4, GRID_COLUMNS: 1, STEP: 32 },
  { ROWS: 4, COLUMNS: 2, GRID_ROWS: 4, GRID_COLUMNS: 1, STEP: 32 },
  { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 1, STEP: 32 },
]);

function matrixTiling(device: Device, pixels: number, outputs: number): Tiling {
  const cut = (constants: typeof LARGE_MATRIX_TILE): Tiling => {
    const { ROWS, COLUMNS, GRID_ROWS, GRID_COLUMNS } = constants;
    const workgroups = Math.ceil(pixels / (16 * ROWS * GRID_ROWS)) * Math.ceil(outputs / (16 * COLUMNS * GRID_COLUMNS));
    return { constants, workgroups };
  };
  if (outputs <= 32) return cut(tileFor(device, NARROW_MATRIX_TILES));
  const large = cut(LARGE_MATRIX_TILE);
  if (large.workgroups >= LARGE_MATRIX_WORKGROUPS) return large;
  const middle = cut(MIDDLE_MATRIX_TILE);
  const fits = MIDDLE_MATRIX_BYTES <= device.limits.maxComputeWorkgroupStorageSize;
  return middle.workgroups >= MIDDLE_MATRIX_WORKGROUPS && fits ? middle : cut(tileFor(device, SMALL_MATRIX_TILES));
}

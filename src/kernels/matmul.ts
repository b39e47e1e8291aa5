import type { Device } from '../tensor/device.ts';
import type { Dtype } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import { rowRanges } from '../tensor/row_ranges.ts';
import type { Constants } from '../tensor/shader.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { fitsBlocks, isBrought, type OperandDtype, operandFor, toBlocks } from './blocks.ts';
import { PARTS, productSteps, shareProduct } from './matmul_steps.ts';
import { onMatrices } from './matmul_tiles.ts';
import { rmsNorm } from './rms_norm.ts';

/** RMSNorm of x on its way into a product: x * rsqrt(mean(x^2) + eps) * (weightOffset + weight). */
export interface InputNorm {
  /** [K] f32. */
  readonly weight: Tensor;
  readonly eps: number;
  readonly weightOffset: 0 | 1;
  /** Dtype of the normalised x where it has to be stored. */
  readonly dtype: 'f32' | 'f16';
}

/** What a norm left to the product that reads its result, for one row: `x[k] * rsqrt(sum(squares[k / size]) / size + eps)`. */
export interface GroupNorm {
  /** f32 [K / size, 4]: four parts of each group's sum of squares. */
  readonly squares: Tensor;
  /** Columns of a group, a multiple of 8. */
  readonly size: number;
  readonly eps: number;
}

/** A step of a causal convolution and SiLU on the first columns of a one-row product, which must have no epilogue (kernels/causal_conv1d.ts). */
export interface ConvStep {
  /** f32 [channels, taps]. */
  readonly weight: Tensor;
  /** f32 [channels, taps - 1], oldest first; moved on. */
  readonly state: Tensor;
}

/** What happens to a product before it is stored: `residual + gamma * activation(scale * product + bias)`. */
export interface LinearOptions {
  /** Normalises x first; for a few rows as part of the product. */
  readonly norm?: InputNorm;
  /** The rest of a norm of x, which only `matvec` does. */
  readonly groups?: GroupNorm | undefined;
  /** Which only `matvec` does. */
  readonly conv?: ConvStep;
  /** Undoes a scale that x was stored with; 1 unless given. */
  readonly scale?: number;
  /** [N] f32. */
  readonly bias?: Tensor;
  readonly activation?: Activation;
  /** [N] f32: LayerScale. */
  readonly gamma?: Tensor;
  /** [..., N] f32, added last. */
  readonly residual?: Tensor;
  /** Dtype of the result; f16 needs an even N, f16_blocks a multiple of 8. */
  readonly dtype?: OperandDtype;
  /** Takes this variant instead of the one chosen by size: for tests and benchmarks. */
  readonly variant?: MatmulVariant;
}

/** Numbers of wgsl/common/activation.wgsl. */
const ACTIVATIONS = { none: 0, gelu_erf: 1, gelu_tanh: 2, silu: 3 } as const;
export type Activation = keyof typeof ACTIVATIONS;

/** The rungs of the ladder, slowest first; `matvec` is the one for a few rows of x. */
export const MATMUL_VARIANTS = ['naive', 'tiled', 'register', 'subgroup_matrix', 'blocked_matrix', 'matvec'] as const;
export type MatmulVariant = (typeof MATMUL_VARIANTS)[number];

/** Most rows of x that `matvec` takes in one dispatch. */
const MATVEC_ROWS = 4;

/** A product [m, k] x [n, k] and what it is stored as. */
export interface ProductOf {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Of x; the weight's, too, where it is f16_blocks. */
  readonly dtype: Dtype;
  /** Of the result; f32 unless given. */
  readonly result?: OperandDtype;
}

/** Results that products on matrices store at a time: 16 bytes. */
function storedTogether(result: OperandDtype = 'f32'): number {
  return result === 'f32' ? 4 : 8;
}

/** Whether a variant can do a product on this device. */
export function matmulSupports(device: Device, variant: MatmulVariant, product: ProductOf): boolean {
  const { m, n, k, dtype, result } = product;
  if (variant !== 'blocked_matrix' && dtype === 'f16_blocks') return false;
  switch (variant) {
    case 'naive':
    case 'tiled':
      return true;
    case 'register':
      return k % 8 === 0;
    case 'matvec':
      return k % 8 === 0 && m <= MATVEC_ROWS;
    case 'subgroup_matrix':
      return k % 8 === 0 && n % storedTogether(result) === 0 && dtype === 'f16' && device.multipliesMatrices;
    case 'blocked_matrix':
      return dtype === 'f16_blocks' && fitsBlocks(n, k) && device.multipliesMatrices;
  }
}

/** The variant for a product: the last rung that can do it, and `matvec` for few rows. */
function chooseVariant(device: Device, product: ProductOf): MatmulVariant {
  const order = ['matvec', 'blocked_matrix', 'subgroup_matrix', 'register'] as const;
  return order.find((variant) => matmulSupports(device, variant, product)) ?? 'tiled';
}

/**
 * A linear layer: `out[..., n] = residual + gamma * activation(scale * sum_k x[..., k] * weight[n, k] + bias)`.
 * @param x [..., K] f32 or f16, or [M, K] f16_blocks
 * @param weight [N, K] (or any shape whose first dimension is N) f32, f16 or bf16, larger than the device's binding limit is fine; or f16_blocks. Where one of both
 * is in blocks, or they are large enough (`isBrought`), the other one, or both, are brought into blocks first; but not an x of f32.
 * @returns [..., N]
 */
export function linear(x: Tensor, weight: Tensor, options: LinearOptions = {}): Tensor {
  const device = x.device;
  const { norm } = options;
  if (norm !== undefined && ((options.variant ?? 'matvec') !== 'matvec' || !fitsMatvec(x, weight))) {
    const { norm: _, ...rest } = options;
    return device.tidy(() => linear(normalised(x, norm, weight, options.variant), weight, rest));
  }
  if (weight.dtype !== 'f16_blocks' && brings(x, weight, options.variant))
    return device.tidy(() => linear(x, toBlocks(weight.reshape(weight.dim(0), x.dim(-1))), options));
  if (weight.dtype === 'f16_blocks' && x.dtype === 'f16') {
    return device.tidy(() => {
      const out = linear(toBlocks(x), weight, options);
      return options.dtype === 'f16_blocks' ? out : out.reshape(...x.shape.slice(0, -1), weight.dim(0));
    });
  }
  const n = weight.dim(0);
  const k = weight.size / n;
  const m = x.size / k;
  const { bias, gamma, residual, dtype = 'f32' } = options;
  if (x.dim(-1) !== k) throw new KernelError(`linear: x [${x.shape}] does not fit weight [${weight.shape}]`);
  if (x.dtype !== 'f32' && x.dtype !== 'f16' && x.dtype !== 'f16_blocks')
    throw new KernelError(`linear: x is ${x.dtype}`);
  if (weight.dtype === 'i32' || weight.dtype === 'u32' || weight.dtype === 'u8')
    throw new KernelError(`linear: the weight is ${weight.dtype}`);
  const isBlocked = x.dtype === 'f16_blocks';
  if (isBlocked !== (weight.dtype === 'f16_blocks'))
    throw new KernelError(`linear: x is ${x.dtype} and the weight ${weight.dtype}`);
  if (dtype === 'f16' && n % 2 !== 0) throw new KernelError(`linear: an f16 result needs an even width, not ${n}`);
  expectVector('bias', bias, weight);
  expectVector('gamma', gamma, weight);
  if (residual !== undefined && (residual.size !== m * n || residual.dtype !== 'f32')) {
    throw new KernelError(`linear: residual [${residual.shape}] ${residual.dtype} does not fit a result of ${m}x${n}`);
  }
  const product = { m, n, k, dtype: x.dtype, result: dtype };
  const variant = options.variant ?? chooseVariant(device, product);
  if (!matmulSupports(device, variant, product))
    throw new KernelError(`linear: variant ${variant} cannot do ${m}x${k} by ${n}x${k}`);
  const { groups, conv } = options;
  if (groups !== undefined || conv !== undefined) checkOneRow(variant, [m, n, k], options);

  if (dtype === 'f16_blocks' && !isBlocked)
    return device.tidy(() => toBlocks(linear(x, weight, { ...options, dtype: 'f16' })));

  const ranges = rowRanges(weight, { multiple: onMatrices(variant) ? (isBlocked ? 16 : storedTogether(dtype)) : 1 });
  const out = device.tensor([...x.shape.slice(0, -1), n], dtype);
  const activation = ACTIVATIONS[options.activation ?? 'none'];
  const parts = (bias ? PARTS.bias : 0) + (gamma ? PARTS.gamma : 0) + (residual ? PARTS.residual : 0);
  const operands = [bias ?? x, gamma ?? x, residual ?? x] as const;
  const label = `matmul/${variant} ${n}x${k}`;
  for (const { start, tensor } of ranges) {
    const bound = tensor.dim(0);
    const kind = {
      variant,
      m,
      n: bound,
      k,
      whole: ranges.length > 1,
      x: x.dtype,
      weight: weight.dtype,
      result: dtype,
      activation,
      parts,
    };
    for (const step of productSteps(device, kind)) {
      const rows = step.columns === bound ? tensor : tensor.rows(step.first, step.columns);
      const params = {
        M: m,
        N: step.columns,
        K: k,
        column0: start + step.first,
        columns: n,
        scale: options.scale ?? 1,
        eps: norm?.eps ?? groups?.eps ?? 0,
        weight_offset: norm?.weightOffset ?? 0,
        never: 0,
        split: step.split,
        parts,
      };
      if (step.joining !== undefined) {
        shareProduct(x, rows, out, { variant, label, step, params, operands });
        continue;
      }
      const isMatvec = variant === 'matvec';
      device.run({
        kernel: isMatvec ? matvecKernel(device) : `matmul/${variant}`,
        label,
        constants: isMatvec ? matvecConstants(step.constants, options) : step.constants,
        bindings: [
          x,
          rows,
          conv?.weight ?? operands[0],
          operands[1],
          operands[2],
          out,
          ...(isMatvec ? [norm?.weight ?? groups?.squares ?? x] : []),
          ...(conv ? [conv.state] : []),
        ],
        params,
        workgroups: step.workgroups,
        work: () => ({ flops: 2 * m * step.columns * k }),
      });
    }
  }
  return out;
}

function expectVector(name: string, vector: Tensor | undefined, weight: Tensor): void {
  if (vector === undefined || (vector.size === weight.dim(0) && vector.dtype === 'f32')) return;
  throw new KernelError(`linear: ${name} [${vector.shape}] ${vector.dtype} does not fit weight [${weight.shape}]`);
}

/** The norm of x, in the dtype in which a product with this weight reads it best. */
function normalised(x: Tensor, norm: InputNorm, weight: Tensor, variant?: MatmulVariant): Tensor {
  const dtype = variant === undefined ? operandFor(weight, norm.dtype, x.size / x.dim(-1)) : norm.dtype;
  return rmsNorm(x, norm.weight, { ...norm, dtype });
}

/** Whether a weight in rows is brought into blocks for this x. */
function brings(x: Tensor, weight: Tensor, variant: MatmulVariant | undefined): boolean {
  if (variant !== undefined) return variant === 'blocked_matrix';
  return x.dtype === 'f16_blocks' || (x.dtype === 'f16' && isBrought(weight, x.size / x.dim(-1)));
}

/** @throws KernelError unless `groups` and `conv` fit a product of one row */
function checkOneRow(
  variant: MatmulVariant,
  [m, n, k]: readonly [number, number, number],
  { norm, groups, conv, ...epilogue }: LinearOptions,
): void {
  const described = `linear: a product ${m}x${k} by ${n}x${k} by ${variant}`;
  if (variant !== 'matvec' || m !== 1)
    throw new KernelError(`${described} takes no norm's rest and no convolution; they need matvec and one row`);
  if (groups !== undefined) {
    const { squares, size } = groups;
    if (norm !== undefined || size % 8 !== 0 || squares.dtype !== 'f32' || squares.size !== 4 * (k / size))
      throw new KernelError(`${described}: squares [${squares.shape}] ${squares.dtype} of groups of ${size}`);
  }
  if (conv !== undefined) {
    const { weight, state } = conv;
    const [channels = 0, taps = 0] = weight.shape;
    const isPlain = Object.values(epilogue).every((option) => option === undefined || option === 'matvec');
    if (!isPlain || channels > n || taps < 2 || weight.dtype !== 'f32' || state.dtype !== 'f32')
      throw new KernelError(`${described}: weight [${weight.shape}] ${weight.dtype} of a convolution, or an epilogue`);
    if (state.size !== channels * (taps - 1))
      throw new KernelError(`${described}: weight [${weight.shape}] and state [${state.shape}] of a convolution`);
  }
}

/** What only `matvec` does beside the product. */
function matvecConstants(constants: Constants, { norm, groups, conv }: LinearOptions): Constants {
  return {
    ...constants,
    EARLY_RESIDUAL: true,
    ...(norm && { NORM: true }),
    ...(groups && { GROUP: groups.size }),
    ...(conv && convConstants(conv, constants)),
  };
}

function convConstants({ weight }: ConvStep, { SLOTS, THREADS }: Constants): Constants {
  const taps = weight.dim(1);
  const brought = Math.ceil((Number(SLOTS) * taps) / Number(THREADS));
  return { CONV: 1, CHANNELS: weight.dim(0), TAPS: taps, BROUGHT: brought };
}

/** Whether `matvec` takes x [..., K] by a weight [N, K]. */
export function fitsMatvec(x: Tensor, weight: Tensor): boolean {
  const k = weight.size / weight.dim(0);
  return matmulSupports(x.device, 'matvec', { m: x.size / k, n: weight.dim(0), k, dtype: x.dtype });
}

/** The kernel of `matvec`. */
export function matvecKernel(device: Device): string {
  return device.has('subgroups') ? 'matmul/matvec_subgroups' : 'matmul/matvec';
}

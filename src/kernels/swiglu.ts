import { DTYPE_CODE } from '../tensor/dtype.ts';
import { rowRanges } from '../tensor/row_ranges.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { isBrought, type OperandDtype, toBlocks } from './blocks.ts';
import { siluMul } from './elementwise.ts';
import { fitsMatvec, type InputNorm, linear, matmulSupports, matvecKernel } from './matmul.ts';
import { type Piece, pieces } from './matmul_tiles.ts';
import { Memo } from './memo.ts';
import { rmsNorm } from './rms_norm.ts';

/** Variants of `linear` that multiply gate and up as part of the product. */
export type SwigluVariant = 'matvec' | 'subgroup_matrix' | 'blocked_matrix';

/** How to make the first half of a SwiGLU. */
export interface SwigluOptions {
  readonly norm: InputNorm;
  /** Of the result where it is stored between products, [T, F]; a few rows come as f32. */
  readonly dtype: OperandDtype;
  readonly scale: number;
  /** Takes this variant instead of the one chosen by size: for tests and benchmarks. */
  readonly variant?: SwigluVariant;
}

const memo = new Memo<Piece>();

/**
 * The first half of a SwiGLU: `scale * silu(gate x) * (up x)`, after an RMSNorm of x.
 * @param x [T, K] f32
 * @param gateUp [2F, K] f32, f16 or bf16: gate rows, then up rows
 * @returns [T, F]
 */
export function swiglu(x: Tensor, gateUp: Tensor, options: SwigluOptions): Tensor {
  const { norm, dtype, scale, variant = chooseVariant(x, gateUp, options) } = options;
  const { device } = x;
  const [isMatvec, isBlocked] = [variant === 'matvec', variant === 'blocked_matrix'];
  if (dtype === 'f16_blocks' && !isMatvec && !isBlocked)
    return device.tidy(() => toBlocks(swiglu(x, gateUp, { ...options, dtype: 'f16' })));
  if (variant === undefined)
    return device.tidy(() => siluMul(linear(x, gateUp, { norm }), dtype === 'f32' ? 'f32' : 'f16', scale));
  const [n, k] = gateUp.shape as [number, number];
  const m = x.size / k;
  return device.tidy(() => {
    const input = isMatvec ? x : rmsNorm(x, norm.weight, { ...norm, dtype: isBlocked ? 'f16_blocks' : norm.dtype });
    const weight = isBlocked ? toBlocks(gateUp) : gateUp;
    const out = device.tensor([m, n / 2], isMatvec ? 'f32' : dtype);
    const key = `${variant} ${m} ${n} ${k} ${gateUp.dtype} ${x.dtype} ${dtype}`;
    const piece = memo.get(device, key, () => gatedPiece(variant, x, gateUp, dtype));
    device.run({
      kernel: isMatvec ? matvecKernel(device) : `matmul/${variant}`,
      label: `matmul/${variant} swiglu ${n}x${k}`,
      constants: piece.constants,
      bindings: [input, weight, x, x, x, out, ...(isMatvec ? [norm.weight] : [])],
      params: {
        M: m,
        N: n,
        K: k,
        column0: 0,
        columns: n / 2,
        scale,
        eps: norm.eps,
        weight_offset: norm.weightOffset,
        never: 0,
        split: piece.split,
        parts: 0,
      },
      workgroups: piece.workgroups,
      work: () => ({ flops: 2 * m * n * k }),
    });
    return out;
  });
}

/** The whole product, with everything its kernel has to know. */
function gatedPiece(variant: SwigluVariant, x: Tensor, gateUp: Tensor, dtype: OperandDtype): Piece {
  const [n, k] = gateUp.shape as [number, number];
  const [piece] = pieces(x.device, variant, [x.size / k, n, k], { whole: true }) as [Piece];
  const constants = {
    ...piece.constants,
    GATED: true,
    ...(variant === 'blocked_matrix'
      ? { OUT_BLOCKS: dtype === 'f16_blocks' }
      : { W_DTYPE: DTYPE_CODE[gateUp.dtype as 'bf16'] }),
    ...(variant === 'matvec' ? { X_DTYPE: DTYPE_CODE[x.dtype as 'f32'], NORM: true } : { OUT_F16: dtype !== 'f32' }),
  };
  return { ...piece, constants };
}

/** The variant for these operands, if one can do it. */
function chooseVariant(x: Tensor, gateUp: Tensor, { norm, dtype: result }: SwigluOptions): SwigluVariant | undefined {
  if (rowRanges(gateUp).length > 1) return undefined;
  if (fitsMatvec(x, gateUp)) return 'matvec';
  const [rows, k] = gateUp.shape as [number, number];
  const product = { m: x.size / k, n: rows / 2, k, dtype: norm.dtype, result };
  if (norm.dtype === 'f16' && isBrought(gateUp, product.m) && rows % 16 === 0) return 'blocked_matrix';
  return matmulSupports(x.device, 'subgroup_matrix', product) ? 'subgroup_matrix' : undefined;
}

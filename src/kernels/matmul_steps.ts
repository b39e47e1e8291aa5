import type { Device } from '../tensor/device.ts';
import { grid } from '../tensor/device.ts';
import { DTYPE_CODE, type Dtype } from '../tensor/dtype.ts';
import type { Params } from '../tensor/pipeline.ts';
import type { Constants } from '../tensor/shader.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { OperandDtype } from './blocks.ts';
import type { MatmulVariant } from './matmul.ts';
import { onMatrices, type Piece, pieces } from './matmul_tiles.ts';
import { Memo } from './memo.ts';

/** A product [m, k] x [n, k] as far as it does not depend on the values of its operands. */
export interface ProductKind {
  readonly variant: MatmulVariant;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** No tile's K may be shared. */
  readonly whole: boolean;
  readonly x: Dtype;
  readonly weight: Dtype;
  readonly result: OperandDtype;
  /** Number of wgsl/common/activation.wgsl, and bits of PARTS. */
  readonly activation: number;
  readonly parts: number;
}

/** A piece of a product, with everything its kernel has to know, and where K is shared what the kernel has to know that joins the parts. */
export interface ProductStep extends Piece {
  readonly joining: Constants | undefined;
}

/** Bits of the parameter `parts` (wgsl/matmul/epilogue.wgsl). */
export const PARTS = { bias: 1, gamma: 2, residual: 4 } as const;
/** An f32 result that may have any parts, by a kernel that takes long to compile: it finds out at run time. */
const ANY_PARTS = { HAS_BIAS: true, HAS_GAMMA: true, HAS_RESIDUAL: true, AT_RUN: true };
/** Sums as they are, for another kernel to finish: with `parts` 0, too, where the kernel is one for any. */
const NO_PARTS = { HAS_BIAS: false, HAS_GAMMA: false, HAS_RESIDUAL: false };
const NO_ACTIVATION = { ACTIVATION: 0, OUT_F16: false };

const memo = new Memo<readonly ProductStep[]>();

/** How a product is made. Products of one kind share the very same steps. */
export function productSteps(device: Device, kind: ProductKind): readonly ProductStep[] {
  const { variant, m, n, k, whole, x, weight, result, activation, parts } = kind;
  const key = `${variant} ${m} ${n} ${k} ${whole} ${x} ${weight} ${result} ${activation} ${parts}`;
  return memo.get(device, key, () => {
    const onAny = onMatrices(variant);
    const operands = {
      ...(x === 'f16_blocks' || variant === 'subgroup_matrix' ? {} : { X_DTYPE: DTYPE_CODE[x as 'f32'] }),
      ...(weight === 'f16_blocks' ? {} : { W_DTYPE: DTYPE_CODE[weight as 'f32'] }),
    };
    const epilogue = {
      ...(onAny && result === 'f32'
        ? ANY_PARTS
        : {
            HAS_BIAS: (parts & PARTS.bias) > 0,
            HAS_GAMMA: (parts & PARTS.gamma) > 0,
            HAS_RESIDUAL: (parts & PARTS.residual) > 0,
          }),
      ACTIVATION: activation,
      OUT_F16: result !== 'f32',
      ...(result === 'f16_blocks' && { OUT_BLOCKS: true }),
    };
    return pieces(device, variant, [m, n, k], { whole }).map((piece) => {
      if (piece.splits === 1)
        return { ...piece, constants: { ...operands, ...epilogue, ...piece.constants }, joining: undefined };
      const sums = { ...(onAny ? ANY_PARTS : NO_PARTS), ...NO_ACTIVATION };
      return {
        ...piece,
        constants: { ...operands, ...sums, ...piece.constants },
        joining: { ...epilogue, SPLITS: piece.splits },
      };
    });
  });
}

/** A product whose tiles several workgroups share, part of K by part of K. */
export interface SharedProduct {
  readonly variant: MatmulVariant;
  readonly label: string;
  readonly step: ProductStep;
  readonly params: Params;
  /** Bias, gamma and residual, or anything in their place. */
  readonly operands: readonly [Tensor, Tensor, Tensor];
}

/** Makes the step's columns of `out`: its workgroups leave sums of their parts of K, f32 [splits, m, columns], which a second kernel adds up and completes. */
export function shareProduct(x: Tensor, weight: Tensor, out: Tensor, product: SharedProduct): void {
  const { variant, label, step, params, operands } = product;
  const { columns: n, splits } = step;
  const { M: m, K: k } = params as { M: number; K: number };
  const { device } = x;
  device.tidy(() => {
    const partial = device.tensor([splits, m, n]);
    device.run({
      kernel: `matmul/${variant}`,
      label,
      constants: step.constants,
      bindings: [x, weight, x, x, x, partial],
      params: { ...params, column0: 0, columns: n, scale: 1, parts: 0 },
      workgroups: [...step.workgroups, splits],
      work: () => ({ flops: 2 * m * n * k }),
    });
    device.run({
      kernel: 'matmul/join',
      constants: step.joining!,
      bindings: [partial, weight, ...operands, out],
      params,
      workgroups: grid(Math.ceil((m * n) / 512)),
      work: () => ({ bytes: partial.byteLength + (out.byteLength * n) / out.dim(-1) }),
    });
  });
}

import type { AttentionVariant } from '../kernels/attention.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Values of `--dtype`. */
export const DTYPES = ['bfloat16', 'float16', 'float32'] as const;
export type DtypeName = (typeof DTYPES)[number];

/**
 * What is stored in which dtype. Weights stay as the file has them (VGGT rounds f32 ones to the operands' dtype) and every sum is f32 in all modes; the
 * residual stream, norms, softmax and recurrent states are f32 throughout.
 */
export interface Precision {
  /** Operands of matrix products: norm outputs, attention operands and results. */
  readonly operand: 'f32' | 'f16';
  /** Keys and values kept for decoding. */
  readonly cache: 'f32' | 'f16';
  /** The attention kernel to use instead of the one chosen by size. */
  readonly attention?: AttentionVariant;
}

/** The precision of a `--dtype`: bfloat16 and float16 differ only in what checkpoints store, so both mean f16 operands here. */
export function precisionOf(dtype: DtypeName, attention?: AttentionVariant): Precision {
  const width = dtype === 'float32' ? 'f32' : 'f16';
  return { operand: width, cache: width, ...(attention === undefined ? {} : { attention }) };
}

/** Called with intermediate results by the names of the reference files; the tensor is only valid during the call (record a copy to keep it). */
export type Observe = (name: string, tensor: Tensor) => void;

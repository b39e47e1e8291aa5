/**
 * Element types of a GPU tensor. `bf16` and `f16` are storage formats: two to a u32, widened exactly when read (a 16-bit
 * shift, `unpack2x16float`), so that no shader needs the `shader-f16` feature to read them. `u8` are bytes, four to a u32. `f16_blocks` are f16 in the order in
 * which products on subgroup matrices read them (wgsl/common/blocks.wgsl): a matrix [rows, columns] as blocks of 16 rows by 8 columns, the last rows padded.
 */
export type Dtype = 'f32' | 'f16' | 'f16_blocks' | 'bf16' | 'i32' | 'u32' | 'u8';

/** Bytes of one element. */
export const DTYPE_BYTES: Record<Dtype, number> = { f32: 4, f16: 2, f16_blocks: 2, bf16: 2, i32: 4, u32: 4, u8: 1 };

/** Rows and columns of a block of `f16_blocks`. */
export const BLOCK_ROWS = 16;
export const BLOCK_COLUMNS = 8;

/** The number by which WGSL knows a floating dtype (`DTYPE_*` in wgsl/common/dtype.wgsl). */
export const DTYPE_CODE: Record<'f32' | 'f16' | 'bf16', number> = { f32: 0, f16: 1, bf16: 2 };

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (let i = 0; i < shape.length; i++) count *= shape[i]!;
  return count;
}

/** Bytes that a tensor takes, the padding of its blocks included. */
export function bytesOfShape(shape: readonly number[], dtype: Dtype): number {
  const bytes = elementCount(shape) * DTYPE_BYTES[dtype];
  if (dtype !== 'f16_blocks') return bytes;
  const rows = shape[0]!;
  return (bytes / rows) * Math.ceil(rows / BLOCK_ROWS) * BLOCK_ROWS;
}

import { grid } from '../tensor/device.ts';
import { DTYPE_BYTES, DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { expectApart, expectDtype, expectShape } from './checks.ts';
import { areWhole, type Heads } from './heads.ts';
import { lanesFor } from './lanes.ts';

/** A norm over each head's elements; `weightOffset` (0 unless given) is added to the weight. */
export interface HeadNorm {
  readonly kind: 'rms' | 'layer';
  readonly weight: Tensor;
  readonly bias?: Tensor;
  readonly eps: number;
  readonly weightOffset?: 0 | 1;
}

/** Rotary position embedding: `blocks` blocks of 2 * `half` elements, by the angles (cos, sin) of `table` [T, blocks * half, 2] f32. */
export interface Rope {
  readonly table: Tensor;
  readonly half: number;
  readonly blocks: number;
  /** The first token's row of the table is what this cursor says was drawn (kernels/cursor.ts), not row 0. */
  readonly cursor?: Tensor | undefined;
}

const NORM_CODE = { rms: 1, layer: 2 };

/**
 * Normalises each head's vector (if `norm`), rotates its leading elements (if `rope`) and stores it: queries and keys on their way into
 * attention. In block b, elements (base + j, base + half + j), base = 2 * half * b, turn by angle b * half + j of the token's table row;
 * elements beyond the blocks pass through. Input and output f32 or f16 (even dim, strides and offset of an f16 output), in two buffers; with `cursor`, the
 * output begins as many tokens further on as the cursor says were seen.
 * @throws KernelError
 */
export function headNormRope(
  input: Heads,
  output: Heads,
  { norm, rope, cursor }: { norm?: HeadNorm; rope?: Rope; cursor?: Tensor | undefined },
): void {
  const { tokens, heads, dim } = input;
  if (output.tokens !== tokens || output.heads !== heads || output.dim !== dim) {
    throw new KernelError(
      `headNormRope: the output has ${output.tokens} x ${output.heads} x ${output.dim} elements, the input ${tokens} x ${heads} x ${dim}`,
    );
  }
  expectDtype('headNormRope', 'the input', input.tensor, 'f32', 'f16');
  expectDtype('headNormRope', 'the output', output.tensor, 'f32', 'f16');
  const isF16 = output.tensor.dtype === 'f16';
  if (isF16 && !areWhole(2, output)) {
    throw new KernelError(
      `headNormRope: an f16 output needs even dim, offset and strides; got ${dim}, ${output.offset}, ${output.tokenStride}, ${output.headStride}`,
    );
  }
  for (const [name, vector] of Object.entries({ weight: norm?.weight, bias: norm?.bias })) {
    if (vector === undefined) continue;
    expectDtype('headNormRope', name, vector, 'f32');
    expectShape('headNormRope', name, vector, [dim]);
  }
  if (rope !== undefined) {
    expectDtype('headNormRope', 'the table', rope.table, 'f32');
    const rows = rope.cursor === undefined ? tokens : rope.table.dim(0);
    expectShape('headNormRope', 'the table', rope.table, [rows, rope.blocks * rope.half, 2]);
    if (2 * rope.half * rope.blocks > dim) {
      throw new KernelError(`headNormRope: ${rope.blocks} blocks of 2 x ${rope.half} elements exceed heads of ${dim}`);
    }
  }
  expectApart('headNormRope', output.tensor, input.tensor);
  const unused = input.tensor;
  const inQuads = areWhole(4, input, output) && dim % 8 === 0 && (rope?.half ?? 0) % 4 === 0;
  const { lanes, workgroups } = lanesFor(dim, tokens * heads);
  input.tensor.device.run({
    kernel: inQuads ? 'head_norm_rope/quads' : 'head_norm_rope/head_norm_rope',
    constants: {
      LANES: lanes,
      ...(inQuads && { PAIRS: Math.ceil(dim / (8 * lanes)) }),
      NORM: norm === undefined ? 0 : NORM_CODE[norm.kind],
      HAS_BIAS: norm?.bias !== undefined,
      BLOCKS: rope?.blocks ?? 0,
      HALF: rope?.half ?? 1,
      IN_DTYPE: DTYPE_CODE[input.tensor.dtype as keyof typeof DTYPE_CODE],
      OUT_F16: isF16,
      OUT_AT_CURSOR: cursor !== undefined,
      TABLE_AT_CURSOR: rope?.cursor !== undefined,
    },
    bindings: [
      input.tensor,
      norm?.weight ?? unused,
      norm?.bias ?? unused,
      rope?.table ?? unused,
      output.tensor,
      cursor ?? rope?.cursor ?? unused,
    ],
    params: {
      tokens,
      heads,
      dim,
      in_offset: input.offset,
      in_token_stride: input.tokenStride,
      in_head_stride: input.headStride,
      out_offset: output.offset,
      out_token_stride: output.tokenStride,
      out_head_stride: output.headStride,
      eps: norm?.eps ?? 0,
      weight_offset: norm?.weightOffset ?? 0,
    },
    workgroups: grid(workgroups),
    work: () => ({
      flops: 8 * tokens * heads * dim,
      bytes:
        tokens * heads * dim * (DTYPE_BYTES[input.tensor.dtype] + DTYPE_BYTES[output.tensor.dtype]) +
        (rope === undefined ? 0 : 8 * tokens * rope.blocks * rope.half),
    }),
  });
}

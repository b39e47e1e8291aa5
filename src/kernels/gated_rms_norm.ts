import { grid } from '../tensor/device.ts';
import { BLOCK_ROWS } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { OperandDtype } from './blocks.ts';
import { described, expectDtype, expectShape, expectWholeWords } from './checks.ts';
import type { Heads } from './heads.ts';
import { lanesFor } from './lanes.ts';

/**
 * o * rsqrt(mean(o^2) + eps) * weight * silu(z) per head: o [T, H, D] f32, weight [D] f32, z an f32 view of T x H x D; result
 * [T, H * D] f32 unless `dtype` says f16 or, where H * D is a multiple of 8, f16_blocks. The output norm of a gated delta net. @throws KernelError
 */
export function gatedRmsNorm(
  o: Tensor,
  weight: Tensor,
  z: Heads,
  { eps, dtype = 'f32' }: { eps: number; dtype?: OperandDtype },
): Tensor {
  if (o.shape.length !== 3) throw new KernelError(`gatedRmsNorm: o is ${described(o)}; expected three dimensions`);
  const [tokens, heads, dim] = o.shape as [number, number, number];
  expectDtype('gatedRmsNorm', 'o', o, 'f32');
  expectDtype('gatedRmsNorm', 'z', z.tensor, 'f32');
  expectDtype('gatedRmsNorm', 'weight', weight, 'f32');
  expectShape('gatedRmsNorm', 'weight', weight, [dim]);
  if (z.tokens !== tokens || z.heads !== heads || z.dim !== dim) {
    throw new KernelError(
      `gatedRmsNorm: z has ${z.tokens} x ${z.heads} x ${z.dim} elements; expected those of o ${described(o)}`,
    );
  }
  expectWholeWords('gatedRmsNorm', dim, dtype === 'f32' ? 'f32' : 'f16');
  const y = o.device.tensor([tokens, heads * dim], dtype);
  const together = dtype === 'f16_blocks' ? BLOCK_ROWS : 1;
  const vectors = Math.ceil(tokens / together) * together * heads;
  const { lanes, workgroups } = lanesFor(2 * dim, vectors); // lanes read one element at a time: neighbours enough to fill a line
  o.device.run({
    kernel: 'gated_rms_norm/gated_rms_norm',
    constants: { LANES: lanes, TOGETHER: together, OUT_F16: dtype !== 'f32', OUT_BLOCKS: dtype === 'f16_blocks' },
    bindings: [o, weight, z.tensor, y],
    params: { tokens, heads, dim, eps, z_offset: z.offset, z_token_stride: z.tokenStride, z_head_stride: z.headStride },
    workgroups: grid(workgroups),
    work: () => ({ flops: 10 * y.size, bytes: 8 * y.size + y.byteLength + weight.byteLength }),
  });
  return y;
}

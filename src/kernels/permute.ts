import { grid } from '../tensor/device.ts';
import { DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectWholeWords, type ResultDtype } from './checks.ts';

/** The axes of x in the order in which the result has them. */
export type AxisOrder =
  | readonly [0, 1, 2]
  | readonly [0, 2, 1]
  | readonly [1, 0, 2]
  | readonly [1, 2, 0]
  | readonly [2, 0, 1]
  | readonly [2, 1, 0];

/** x [A, B, C] (f32, f16 or bf16) with its axes in another order, in f32 or f16. @throws KernelError */
export function permute(x: Tensor, order: AxisOrder, dtype: ResultDtype = 'f32'): Tensor {
  expectDtype('permute', 'x', x, 'f32', 'f16', 'bf16');
  if (x.shape.length !== 3) throw new KernelError(`permute: x is ${described(x)}; expected three axes`);
  const strides = [x.dim(1) * x.dim(2), x.dim(2), 1] as const;
  const shape = order.map((axis) => x.dim(axis));
  expectWholeWords('permute', shape[2]!, dtype);
  const y = x.device.tensor(shape, dtype);
  x.device.run({
    kernel: 'permute/permute',
    constants: { X_DTYPE: DTYPE_CODE[x.dtype as keyof typeof DTYPE_CODE], OUT_F16: dtype === 'f16' },
    bindings: [x, y],
    params: {
      count: x.size,
      size_j: shape[1]!,
      size_k: shape[2]!,
      stride_i: strides[order[0]],
      stride_j: strides[order[1]],
      stride_k: strides[order[2]],
    },
    workgroups: grid(Math.ceil(y.byteLength / 4 / 256)),
  });
  return y;
}

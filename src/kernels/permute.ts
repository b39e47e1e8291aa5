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

/** How a tensor of another shape is to be stored: its elements as [A, B, C], the axes in the order in which the result has them, and the shape of that. */
export interface Permutation {
  readonly from: readonly [number, number, number];
  readonly order: AxisOrder;
  readonly shape: readonly number[];
}

/** The elements of x (f32, f16 or bf16) in another order, in f32 or f16, in a new tensor or in the one given. @throws KernelError */
export function permute(x: Tensor, { from, order, shape }: Permutation, target: ResultDtype | Tensor = 'f32'): Tensor {
  expectDtype('permute', 'x', x, 'f32', 'f16', 'bf16');
  const [a, b, c] = from;
  const y = typeof target === 'string' ? x.device.tensor(shape, target) : target;
  expectDtype('permute', 'the result', y, 'f32', 'f16');
  if (x.size !== a * b * c || y.size !== x.size)
    throw new KernelError(`permute: x is ${described(x)}; expected ${from.join(' x ')} elements for ${described(y)}`);
  const strides = [b * c, c, 1] as const;
  const sizes = order.map((axis) => from[axis]);
  expectWholeWords('permute', sizes[2]!, y.dtype as ResultDtype);
  x.device.run({
    kernel: 'permute/permute',
    constants: { X_DTYPE: DTYPE_CODE[x.dtype as keyof typeof DTYPE_CODE], OUT_F16: y.dtype === 'f16' },
    bindings: [x, y],
    params: {
      count: x.size,
      size_j: sizes[1]!,
      size_k: sizes[2]!,
      stride_i: strides[order[0]],
      stride_j: strides[order[1]],
      stride_k: strides[order[2]],
    },
    workgroups: grid(Math.ceil(y.byteLength / 4 / 256)),
  });
  return y;
}

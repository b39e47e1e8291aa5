import { grid } from '../tensor/device.ts';
import { elementCount } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { expectApart, expectDtype } from './checks.ts';

type Four = readonly [number, number, number, number];

/** Sizes, strides and offsets in elements; the last dimension should be the one whose strides are 1. */
export interface StridedCopyOptions {
  readonly sizes: Four;
  readonly sourceStrides: Four;
  readonly targetStrides: Four;
  readonly sourceOffset?: number;
  readonly targetOffset?: number;
}

function expectInside(name: string, tensor: Tensor, sizes: Four, strides: Four, offset: number): void {
  const last = sizes.reduce((sum, size, k) => sum + (size - 1) * strides[k]!, offset);
  if (![...sizes, ...strides, offset].every((n) => Number.isInteger(n) && n >= 0) || last >= tensor.size) {
    throw new KernelError(
      `stridedCopy: sizes ${sizes} with strides ${strides} from ${offset} do not lie inside the ${name} [${tensor.shape}] of ${tensor.size} elements`,
    );
  }
}

/** Copies a four-dimensional box of f32 elements between two buffers: concatenation, slicing, permutation. @throws KernelError */
export function stridedCopy(source: Tensor, target: Tensor, options: StridedCopyOptions): void {
  const { sizes, sourceStrides, targetStrides, sourceOffset = 0, targetOffset = 0 } = options;
  expectDtype('stridedCopy', 'the source', source, 'f32');
  expectDtype('stridedCopy', 'the target', target, 'f32');
  expectInside('source', source, sizes, sourceStrides, sourceOffset);
  expectInside('target', target, sizes, targetStrides, targetOffset);
  expectApart('stridedCopy', target, source);
  const numbered = (name: string, values: Four) =>
    Object.fromEntries(values.map((value, k) => [`${name}_${k}`, value]));
  source.device.run({
    kernel: 'strided_copy/strided_copy',
    bindings: [source, target],
    params: {
      ...numbered('size', sizes),
      ...numbered('source_stride', sourceStrides),
      ...numbered('target_stride', targetStrides),
      source_offset: sourceOffset,
      target_offset: targetOffset,
    },
    workgroups: grid(Math.ceil(elementCount(sizes) / 256)),
    work: () => ({ bytes: 8 * elementCount(sizes) }),
  });
}

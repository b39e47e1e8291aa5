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
  // The last dimension's neighbours four at a time, if they lie side by side in both.
  const outer = [...sourceStrides.slice(0, 3), ...targetStrides.slice(0, 3)];
  const isInFours =
    sourceStrides[3] === 1 &&
    targetStrides[3] === 1 &&
    [sizes[3], ...outer, sourceOffset, targetOffset].every((value) => value % 4 === 0);
  const unit = isInFours ? 4 : 1;
  const strides = ([a, b, c, d]: Four): Four => [a / unit, b / unit, c / unit, d];
  const count = elementCount(sizes) / unit;
  const numbered = (name: string, values: Four) =>
    Object.fromEntries(values.map((value, k) => [`${name}_${k}`, value]));
  source.device.run({
    kernel: isInFours ? 'strided_copy/quads' : 'strided_copy/strided_copy',
    label: 'strided_copy',
    bindings: [source, target],
    params: {
      ...numbered('size', [sizes[0], sizes[1], sizes[2], sizes[3] / unit]),
      ...numbered('source_stride', strides(sourceStrides)),
      ...numbered('target_stride', strides(targetStrides)),
      source_offset: sourceOffset / unit,
      target_offset: targetOffset / unit,
    },
    workgroups: grid(Math.ceil(count / 256)),
    work: () => ({ bytes: 8 * elementCount(sizes) }),
  });
}

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

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0;
}

function expectInside(name: string, tensor: Tensor, sizes: Four, strides: Four, offset: number): void {
  let last = offset;
  let isWhole = isCount(offset);
  for (let k = 0; k < 4; k++) {
    last += (sizes[k]! - 1) * strides[k]!;
    isWhole &&= isCount(sizes[k]!) && isCount(strides[k]!);
  }
  if (!isWhole || last >= tensor.size) {
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
  const inFours = ([a, b, c, d]: Four, offset: number) =>
    d === 1 && a % 4 === 0 && b % 4 === 0 && c % 4 === 0 && offset % 4 === 0;
  const isInFours = sizes[3] % 4 === 0 && inFours(sourceStrides, sourceOffset) && inFours(targetStrides, targetOffset);
  const unit = isInFours ? 4 : 1;
  const count = elementCount(sizes) / unit;
  source.device.run({
    kernel: isInFours ? 'strided_copy/quads' : 'strided_copy/strided_copy',
    label: 'strided_copy',
    bindings: [source, target],
    params: {
      size_0: sizes[0],
      size_1: sizes[1],
      size_2: sizes[2],
      size_3: sizes[3] / unit,
      source_stride_0: sourceStrides[0] / unit,
      source_stride_1: sourceStrides[1] / unit,
      source_stride_2: sourceStrides[2] / unit,
      source_stride_3: sourceStrides[3],
      target_stride_0: targetStrides[0] / unit,
      target_stride_1: targetStrides[1] / unit,
      target_stride_2: targetStrides[2] / unit,
      target_stride_3: targetStrides[3],
      source_offset: sourceOffset / unit,
      target_offset: targetOffset / unit,
    },
    workgroups: grid(Math.ceil(count / 256)),
    work: () => ({ bytes: 8 * elementCount(sizes) }),
  });
}

import { describe, expect, it } from 'vitest';
import { type StridedCopyOptions, stridedCopy } from '../../src/kernels/strided_copy.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { stridedCopy as reference } from '../reference/strided_copy.ts';
import { readValues } from '../tensors.ts';

describe('stridedCopy', () => {
  const device = useDevice();
  const random = new Random(10);

  const cases: [string, StridedCopyOptions][] = [
    [
      'one element',
      {
        sizes: [1, 1, 1, 1],
        sourceStrides: [0, 0, 0, 1],
        targetStrides: [0, 0, 0, 1],
        sourceOffset: 7,
        targetOffset: 3,
      },
    ],
    [
      'columns of a wider matrix',
      { sizes: [1, 1, 9, 20], sourceStrides: [0, 0, 33, 1], targetStrides: [0, 0, 20, 1], sourceOffset: 5 },
    ],
    [
      'a concatenation',
      { sizes: [1, 1, 7, 24], sourceStrides: [0, 0, 24, 1], targetStrides: [0, 0, 50, 1], targetOffset: 26 },
    ],
    [
      'a concatenation in fours',
      { sizes: [1, 2, 7, 24], sourceStrides: [0, 168, 24, 1], targetStrides: [0, 400, 52, 1], targetOffset: 28 },
    ],
    ['a permutation of windows', { sizes: [3, 2, 5, 8], sourceStrides: [80, 8, 16, 1], targetStrides: [80, 40, 8, 1] }],
    ['a transposition', { sizes: [2, 1, 17, 19], sourceStrides: [323, 0, 19, 1], targetStrides: [323, 0, 1, 17] }],
    ['one row to many', { sizes: [1, 1, 6, 16], sourceStrides: [0, 0, 0, 1], targetStrides: [0, 0, 16, 1] }],
  ];
  it.each(cases)('copies %s', async (_, options) => {
    const { sizes, sourceStrides, targetStrides, sourceOffset = 0, targetOffset = 0 } = options;
    const source = random.normal(1000);
    const before = random.normal(1000);
    const target = device().upload(before, [1000], 'f32');
    stridedCopy(device().upload(source, [1000], 'f32'), target, options);
    const expected = reference(source, before, sizes, sourceStrides, targetStrides, sourceOffset, targetOffset);
    expect(maxAbsDifference(await readValues(target), expected)).toBe(0);
  });

  it('refuses what would leave a tensor', () => {
    const [a, b] = [device().tensor([4, 4]), device().tensor([4, 4])];
    const strides = { sourceStrides: [0, 0, 4, 1], targetStrides: [0, 0, 4, 1] } as const;
    expect(() => stridedCopy(a, b, { sizes: [1, 1, 4, 4], ...strides, targetOffset: 1 })).toThrow(
      'do not lie inside the target',
    );
    expect(() => stridedCopy(a, b, { sizes: [1, 1, 5, 4], ...strides })).toThrow('do not lie inside the source');
    expect(() => stridedCopy(a, a, { sizes: [1, 1, 1, 4], ...strides })).toThrow('share a buffer');
  });
});

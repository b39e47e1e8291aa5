import { describe, expect, it } from 'vitest';
import { type AxisOrder, type Permutation, permute } from '../../src/kernels/permute.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { permuteReference } from '../reference/permute.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

describe('permute', () => {
  const device = useDevice();
  const random = new Random(22);

  const orders: AxisOrder[] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  it.each(orders.map((order) => [order]))('reorders the axes as %s', async (order) => {
    for (const dtype of ['f32', 'f16', 'bf16'] as FloatDtype[]) {
      for (const shape of [
        [6, 10, 4],
        [1, 1, 2],
        [16, 30, 18],
      ]) {
        const values = quantise(random.normal(shape.reduce((a, b) => a * b)), dtype);
        const x = uploadAs(device(), values, shape, dtype);
        const expected = permuteReference(values, shape, order);
        const permutation: Permutation = {
          from: shape as [number, number, number],
          order,
          shape: order.map((axis) => shape[axis]!),
        };
        const y = permute(x, permutation);
        expect(y.shape).toEqual(permutation.shape);
        expect(maxAbsDifference(await readValues(y), expected)).toBe(0);
        if (y.dim(2) % 2 !== 0) continue;
        const rounded = quantise(Float32Array.from(expected), 'f16');
        expect(maxAbsDifference(await readValues(permute(x, permutation, 'f16')), rounded)).toBeLessThan(2e-3);
      }
    }
  });

  it('fills the tensor that is given', async () => {
    const values = random.normal(24);
    const target = device().tensor([24], 'f16');
    const permutation: Permutation = { from: [3, 4, 2], order: [1, 0, 2], shape: [24] };
    expect(permute(device().upload(values, [24], 'f32'), permutation, target)).toBe(target);
    const expected = permuteReference(values, [3, 4, 2], [1, 0, 2]);
    expect(maxAbsDifference(await readValues(target), expected)).toBeLessThan(2e-3);
  });

  it('refuses other shapes and odd f16 rows', () => {
    const permutation: Permutation = { from: [2, 4, 3], order: [0, 1, 2], shape: [8, 3] };
    expect(() => permute(device().tensor([2, 3]), permutation)).toThrow(
      'permute: x is [2,3] f32; expected 2 x 4 x 3 elements for [8,3] f32',
    );
    expect(() => permute(device().tensor([8, 3]), permutation, device().tensor([8, 4]))).toThrow('for [8,4] f32');
    expect(() => permute(device().tensor([2, 4, 3]), permutation, 'f16')).toThrow('even last dimension');
  });
});

import { describe, expect, it } from 'vitest';
import { type AxisOrder, permute } from '../../src/kernels/permute.ts';
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
        const y = permute(x, order);
        expect(y.shape).toEqual(order.map((axis) => shape[axis]));
        expect(maxAbsDifference(await readValues(y), expected)).toBe(0);
        if (y.dim(2) % 2 !== 0) continue;
        const rounded = quantise(Float32Array.from(expected), 'f16');
        expect(maxAbsDifference(await readValues(permute(x, order, 'f16')), rounded)).toBeLessThan(2e-3);
      }
    }
  });

  it('refuses other shapes and odd f16 rows', () => {
    expect(() => permute(device().tensor([2, 3]), [0, 1, 2])).toThrow('permute: x is [2,3] f32; expected three axes');
    expect(() => permute(device().tensor([2, 4, 3]), [0, 1, 2], 'f16')).toThrow('even last dimension');
  });
});

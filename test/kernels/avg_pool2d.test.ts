import { describe, expect, it } from 'vitest';
import { avgPool2d } from '../../src/kernels/avg_pool2d.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { avgPool2dReference } from '../reference/avg_pool2d.ts';
import { readValues } from '../tensors.ts';

describe('avgPool2d', () => {
  const device = useDevice();
  const random = new Random(26);

  it.each([[[2, 6, 8, 16]], [[3, 7, 5, 4]], [[1, 2, 3, 128]], [[2, 33, 2, 12]]] as [
    [number, number, number, number],
  ][])('equals the formula: [%s]', async (shape) => {
    const x = random.normal(shape.reduce((a, b) => a * b));
    const y = avgPool2d(device().upload(x, shape, 'f32'));
    expect(y.shape).toEqual([shape[0], Math.floor(shape[1] / 2), Math.floor(shape[2] / 2), shape[3]]);
    expect(maxAbsDifference(await readValues(y), avgPool2dReference(x, shape))).toBeLessThan(1e-6);
  });

  it('refuses pictures of one row', () => {
    expect(() => avgPool2d(device().tensor([1, 1, 8, 4]))).toThrow(
      'avgPool2d: x is [1,1,8,4] f32; expected [S, H, W, C]',
    );
  });
});

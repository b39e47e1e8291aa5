import { describe, expect, it } from 'vitest';
import { rmsNorm } from '../../src/kernels/rms_norm.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { rmsNorm as reference } from '../reference/rms_norm.ts';
import { readValues } from '../tensors.ts';

describe('rmsNorm', () => {
  const device = useDevice();
  const random = new Random(1);

  const shapes = [[4], [3, 8], [5, 64], [300, 12], [2, 3, 252], [4, 256], [3, 260], [2, 2560], [1, 4100]];
  it.each(shapes.map((shape) => [shape]))('equals the formula for [%s]', async (shape) => {
    const dim = shape.at(-1)!;
    const values = random.normal(
      shape.reduce((a, b) => a * b),
      3,
    );
    const weight = random.normal(dim);
    const [x, w] = [device().upload(values, shape, 'f32'), device().upload(weight, [dim], 'f32')];
    for (const weightOffset of [0, 1] as const) {
      const y = rmsNorm(x, w, { eps: 1e-6, weightOffset });
      expect(y.shape).toEqual(shape);
      expect(relativeL2(await readValues(y), reference(values, weight, 1e-6, weightOffset))).toBeLessThan(1e-6);
      const half = rmsNorm(x, w, { eps: 1e-6, weightOffset, dtype: 'f16' });
      expect(half.dtype).toBe('f16');
      expect(relativeL2(await readValues(half), reference(values, weight, 1e-6, weightOffset))).toBeLessThan(1e-3);
    }
  });

  it('keeps its precision for large and for vanishing values', async () => {
    for (const deviation of [900, 1e-4]) {
      const values = random.normal(2 * 2560, deviation);
      const weight = random.normal(2560, 0.1);
      const y = rmsNorm(device().upload(values, [2, 2560], 'f32'), device().upload(weight, [2560], 'f32'), {
        eps: 1e-6,
        weightOffset: 1,
      });
      expect(relativeL2(await readValues(y), reference(values, weight, 1e-6, 1))).toBeLessThan(1e-6);
    }
  });

  it('refuses wrong operands', () => {
    const x = device().tensor([2, 6]);
    expect(() => rmsNorm(x, device().tensor([4]), { eps: 0, weightOffset: 0 })).toThrow(
      'rmsNorm: weight is [4] f32; expected [6]',
    );
    expect(() => rmsNorm(x, device().tensor([6]), { eps: 0, weightOffset: 0 })).toThrow(
      'rmsNorm: x is [2,6] f32; expected a last dimension that is a multiple of 4',
    );
  });
});

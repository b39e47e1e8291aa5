import { describe, expect, it } from 'vitest';
import { layerNorm } from '../../src/kernels/layer_norm.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { layerNorm as reference } from '../reference/layer_norm.ts';
import { readValues } from '../tensors.ts';

describe('layerNorm', () => {
  const device = useDevice();
  const random = new Random(2);

  const shapes = [
    [3, 4],
    [5, 64],
    [300, 12],
    [2, 3, 252],
    [3, 260],
    [5, 1024],
    [2, 2048],
    [1, 4100],
  ];
  it.each(shapes.map((shape) => [shape]))('equals the formula for [%s]', async (shape) => {
    const dim = shape.at(-1)!;
    const values = random.normal(
      shape.reduce((a, b) => a * b),
      3,
    );
    const [w, b] = [random.normal(dim), random.normal(dim)];
    const x = device().upload(values, shape, 'f32');
    const [weight, bias] = [device().upload(w, [dim], 'f32'), device().upload(b, [dim], 'f32')];
    const expectNear = async (y: ReturnType<typeof layerNorm>, expected: Float64Array, tolerance: number) => {
      expect(y.shape).toEqual(shape);
      expect(relativeL2(await readValues(y), expected)).toBeLessThan(tolerance);
    };
    await expectNear(layerNorm(x, { weight, bias, eps: 1e-5 }), reference(values, dim, 1e-5, w, b), 1e-6);
    await expectNear(layerNorm(x, { eps: 1e-6 }), reference(values, dim, 1e-6), 1e-6);
    await expectNear(layerNorm(x, { weight, eps: 1e-6 }), reference(values, dim, 1e-6, w), 1e-6);
    await expectNear(layerNorm(x, { weight, bias, eps: 1e-6, dtype: 'f16' }), reference(values, dim, 1e-6, w, b), 1e-3);
  });

  it.each([
    [{ first: 2, count: 5, every: 9, groups: 3 }, 12],
    [{ first: 0, count: 1, every: 4, groups: 2 }, 260],
    [{ first: 7, count: 3, every: 3, groups: 1 }, 1024],
  ])('takes the rows %o of %s values', async (rows, dim) => {
    const count = rows.first + rows.every * (rows.groups - 1) + rows.count;
    const values = random.normal(count * dim, 3);
    const y = layerNorm(device().upload(values, [count, dim], 'f32'), { eps: 1e-5, rows });
    expect(y.shape).toEqual([rows.groups, rows.count, dim]);
    const all = reference(values, dim, 1e-5);
    const expected = Array.from({ length: rows.groups * rows.count }, (_, i) => {
      const row = rows.first + Math.floor(i / rows.count) * rows.every + (i % rows.count);
      return [...all.subarray(row * dim, (row + 1) * dim)];
    });
    expect(relativeL2(await readValues(y), expected.flat())).toBeLessThan(1e-6);
    const fewer = device().tensor([count - 1, dim]);
    expect(() => layerNorm(fewer, { eps: 1e-5, rows })).toThrow('rows of');
  });

  it('does not cancel where the mean is large', async () => {
    const values = random.normal(3 * 1024).map((value) => 800 + value);
    const y = layerNorm(device().upload(values, [3, 1024], 'f32'), { eps: 1e-6 });
    expect(relativeL2(await readValues(y), reference(values, 1024, 1e-6))).toBeLessThan(1e-4); // the mean itself has 24 bits
  });

  it('refuses wrong operands', () => {
    expect(() => layerNorm(device().tensor([2, 8]), { bias: device().tensor([4]), eps: 0 })).toThrow(
      'layerNorm: bias is [4] f32; expected [8]',
    );
    expect(() => layerNorm(device().tensor([2, 6]), { eps: 0 })).toThrow(
      'layerNorm: x is [2,6] f32; expected a last dimension that is a multiple of 4',
    );
    expect(() => layerNorm(device().tensor([2, 4], 'f16'), { eps: 0 })).toThrow(
      'layerNorm: x is [2,4] f16; expected f32',
    );
  });
});

import { describe, expect, it } from 'vitest';
import { weightedRows } from '../../src/kernels/weighted_rows.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { weightedRows as reference } from '../reference/weighted_rows.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

describe('weightedRows', () => {
  const device = useDevice();
  const random = new Random(8);

  const cases: [number, number, number, number, FloatDtype][] = [
    [1, 1, 1, 1, 'f32'],
    [48, 64, 30, 4, 'f32'],
    [100, 1024, 5, 4, 'bf16'],
    [7, 13, 300, 2, 'bf16'],
    [16, 96, 3, 5, 'f16'],
  ];
  it.each(cases)('sums rows of [%i, %i] for %i results of %i terms, %s', async (rows, dim, count, terms, dtype) => {
    const table = random.normal(rows * dim);
    const index = Int32Array.from({ length: count * terms }, () => random.integer(0, rows - 1));
    if (count > 1) index.set([-1, rows], 0);
    const weights = random.normal(count * terms);
    const addTo = random.normal(count * dim);
    const expected = reference(quantise(table, dtype), dim, index, weights, terms);
    const operands = [
      uploadAs(device(), table, [rows, dim], dtype),
      device().upload(index, [count, terms], 'i32'),
      device().upload(weights, [count, terms], 'f32'),
    ] as const;
    expect(relativeL2(await readValues(weightedRows(...operands)), expected)).toBeLessThan(1e-6);
    const added = weightedRows(...operands, { addTo: device().upload(addTo, [count, dim], 'f32') });
    expect(
      relativeL2(
        await readValues(added),
        expected.map((value, i) => value + addTo[i]!),
      ),
    ).toBeLessThan(1e-6);
  });

  it('refuses wrong operands', () => {
    const index = device().tensor([2, 4], 'i32');
    expect(() => weightedRows(device().tensor([3, 5]), index, device().tensor([2, 3]))).toThrow(
      'weights is [2,3] f32; expected [2,4]',
    );
  });
});

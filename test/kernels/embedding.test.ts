import { describe, expect, it } from 'vitest';
import { embedding } from '../../src/kernels/embedding.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { embedding as reference } from '../reference/embedding.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

describe('embedding', () => {
  const device = useDevice();
  const random = new Random(6);

  const cases: [number, number, number, FloatDtype][] = [
    [1, 1, 1, 'f32'],
    [5, 300, 48, 'f32'],
    [300, 77, 12, 'f16'],
    [40, 500, 64, 'bf16'],
    [9, 501, 7, 'bf16'],
  ];
  it.each(cases)('reads %i ids from [%i, %i] %s, whole and in ranges', async (tokens, vocabulary, dim, dtype) => {
    const table = random.normal(vocabulary * dim);
    const ids = Int32Array.from({ length: tokens }, () => random.integer(0, vocabulary - 1));
    ids[tokens - 1] = vocabulary - 1;
    if (tokens > 4) ids.set([-1, vocabulary, 0x7fffffff, 0], 0);
    const expected = reference(ids, quantise(table, dtype), dim);
    const operands = [
      device().upload(ids, [tokens], 'i32'),
      uploadAs(device(), table, [vocabulary, dim], dtype),
    ] as const;
    for (const limit of [undefined, 6144]) {
      const dispatches = device().stream.dispatches;
      const y = embedding(...operands, limit);
      if (limit !== undefined && vocabulary > 300) expect(device().stream.dispatches - dispatches).toBeGreaterThan(1);
      expect(y.shape).toEqual([tokens, dim]);
      expect(maxAbsDifference(await readValues(y), expected)).toBe(0);
    }
  });

  it('refuses wrong operands', () => {
    expect(() => embedding(device().tensor([3], 'f32'), device().tensor([4, 4]))).toThrow(
      'ids is [3] f32; expected i32',
    );
    expect(() => embedding(device().tensor([3], 'i32'), device().tensor([16]))).toThrow('expected [T] and [V, d]');
  });
});

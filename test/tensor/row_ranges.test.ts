import { describe, expect, it } from 'vitest';
import type { Dtype } from '../../src/tensor/dtype.ts';
import { rowRanges } from '../../src/tensor/row_ranges.ts';
import { useDevice } from '../device.ts';

describe('rowRanges', () => {
  const device = useDevice();

  it('returns a tensor that fits whole', () => {
    const tensor = device().tensor([7, 5]);
    for (const ranges of [rowRanges(tensor), rowRanges(tensor, { limit: 144 })]) {
      expect(ranges.length).toBe(1);
      expect(ranges[0]!.tensor === tensor).toBe(true);
    }
  });

  const cases: [number[], Dtype, number, number][] = [
    [[1000, 6], 'bf16', 2048, 1],
    [[1000, 7], 'bf16', 4096, 1],
    [[333, 64], 'f32', 1024 + 12, 1],
    [[50, 2, 32], 'f16', 256, 1],
    [[1000, 128], 'bf16', 11 * 256, 8],
    [[1000, 24], 'bf16', 10000, 12],
  ];
  it.each(cases)(
    'covers [%s] %s in bindable ranges of at most %i bytes, multiples of %i rows',
    (shape, dtype, limit, multiple) => {
      const alignment = device().limits.minStorageBufferOffsetAlignment;
      const tensor = device().tensor(shape, dtype);
      const ranges = rowRanges(tensor, { limit, multiple });
      expect(ranges.length).toBeGreaterThan(1);
      let next = 0;
      for (const { start, tensor: part } of ranges) {
        expect(start).toBe(next);
        expect(start % multiple).toBe(0);
        expect(part.shape.slice(1)).toEqual(shape.slice(1));
        expect(part.offset).toBe((start * tensor.byteLength) / shape[0]!);
        expect(part.offset % alignment).toBe(0);
        expect(Math.ceil(part.byteLength / 16) * 16).toBeLessThanOrEqual(limit);
        next += part.dim(0);
      }
      expect(next).toBe(shape[0]);
    },
  );

  it('refuses rows that cannot be split', () => {
    expect(() => rowRanges(device().tensor([4, 1024]), { limit: 2048 })).toThrow('cannot be bound');
  });
});

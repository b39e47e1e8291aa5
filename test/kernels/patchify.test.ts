import { describe, expect, it } from 'vitest';
import { type PatchifyOptions, patchify, patchWidth } from '../../src/kernels/patchify.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { patchify as reference } from '../reference/patchify.ts';
import { quantise, readValues } from '../tensors.ts';

type Layout = Omit<PatchifyOptions, 'dtype'>;

describe('patchify', () => {
  const device = useDevice();
  const random = new Random(31);

  const layouts: Record<string, Layout> = {
    'pictures for Qwen3.5, of two sizes': {
      patch: 16,
      time: 2,
      merge: 2,
      groupFrames: 1,
      grids: [
        [1, 2, 4],
        [1, 4, 2],
        [1, 4, 2],
      ],
    },
    'a video for Qwen3.5': { patch: 16, time: 2, merge: 2, groupFrames: 2, grids: [[3, 4, 6]] },
    'frames for VGGT, padded from 588 to 592 values': {
      patch: 14,
      time: 1,
      merge: 1,
      groupFrames: 1,
      grids: [[2, 3, 5]],
    },
    'odd sizes': { patch: 3, time: 3, merge: 3, groupFrames: 2, grids: [[2, 3, 6]] },
    'one pixel': { patch: 1, time: 1, merge: 1, groupFrames: 1, grids: [[1, 1, 1]] },
  };

  /** Rows of patches with zeros behind them. */
  function padded(values: Float64Array, layout: Layout): Float32Array {
    const content = 3 * layout.time * layout.patch ** 2;
    const width = patchWidth(layout);
    const out = new Float32Array((values.length / content) * width);
    for (let row = 0; row * content < values.length; row++)
      out.set(values.subarray(row * content, (row + 1) * content), row * width);
    return out;
  }

  const pixelCount = ({ grids, groupFrames, patch }: Layout) =>
    grids.reduce((sum, [groups, rows, columns]) => sum + groups * rows * columns * groupFrames * patch ** 2 * 3, 0);

  it.each(Object.entries(layouts))('looks up the bytes of %s', async (_, layout) => {
    const bytes = Uint8Array.from({ length: pixelCount(layout) }, () => random.integer(0, 255));
    const table = random.normal(3 * 256);
    const expected = padded(reference(bytes, table, layout), layout);
    const operands = [device().upload(bytes, [bytes.length], 'u8'), device().upload(table, [3, 256], 'f32')] as const;
    const exact = patchify(...operands, { ...layout, dtype: 'f32' });
    expect(exact.dim(1)).toBe(patchWidth(layout));
    expect(maxAbsDifference(await readValues(exact), expected)).toBe(0);
    // f16 may be rounded either way: within one unit in the last place.
    const half = await readValues(patchify(...operands, { ...layout, dtype: 'f16' }));
    const rounded = quantise(expected, 'f16');
    expect(
      rounded.every((value, i) => Math.abs(value - half[i]!) <= Math.max(2 ** -10 * Math.abs(value), 2 ** -24)),
    ).toBe(true);
  });

  it.each(Object.entries(layouts))('normalises the planes of %s', async (_, layout) => {
    const planes = Float32Array.from({ length: pixelCount(layout) }, () => random.uniform());
    const values = Float32Array.of(0.5, 0.4, 0.3, 0.5, 0.25, 0.2);
    const expected = padded(reference(planes, values, layout), layout);
    const operands = [device().upload(planes, [planes.length], 'f32'), device().upload(values, [2, 3], 'f32')] as const;
    const actual = await readValues(patchify(...operands, { ...layout, dtype: 'f32' }));
    expect(maxAbsDifference(actual, expected)).toBeLessThan(2e-6);
  });

  it('refuses what does not fit', () => {
    const layout = { ...layouts['a video for Qwen3.5']!, dtype: 'f16' } as const;
    const values = device().tensor([3, 256]);
    const pixels = (count: number) => device().tensor([count], 'u8');
    const count = pixelCount(layout);
    expect(() => patchify(pixels(count - 3), values, layout)).toThrow(`expected ${count} values`);
    expect(() => patchify(pixels(count), device().tensor([2, 3]), layout)).toThrow('expected [3,256]');
    expect(() => patchify(pixels(count), values, { ...layout, groupFrames: 3 })).toThrow(
      '3 pictures in a time group of 2',
    );
    expect(() => patchify(pixels(count), values, { ...layout, grids: [[3, 4, 5]] })).toThrow('no windows of 2');
    expect(() => patchify(device().tensor([count], 'u32'), values, layout)).toThrow('expected u8 or f32');
  });
});

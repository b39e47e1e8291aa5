import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resizeBicubic, resizeBicubicFloat } from '../../src/io/resample.ts';
import { linspaceFromZero, pythonFixed1, roundHalfEven } from '../../src/io/round.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { maxAbsDifference } from '../compare.ts';

let fixture: Checkpoint;
beforeAll(async () => {
  fixture = await Checkpoint.open(new URL('../fixtures/image_ops.safetensors', import.meta.url).pathname);
});
afterAll(() => fixture.close());

describe('resizeBicubic', () => {
  it.each(['201x50', '518x343', '64x160', '98x70'])('equals Pillow at %s', async (size) => {
    const [height, width] = fixture.entry('source_rgb').shape as [number, number];
    const source = { width, height, data: await fixture.readBytes('source_rgb') };
    const [outWidth, outHeight] = size.split('x').map(Number) as [number, number];
    const result = resizeBicubic(source, outWidth, outHeight);
    expect([result.width, result.height]).toEqual([outWidth, outHeight]);
    expect(maxAbsDifference(result.data, await fixture.readBytes(`pil_bicubic.${size}`))).toBe(0);
  });

  it('stays in range where the kernel overshoots, and handles single pixels', () => {
    const stripes = { width: 8, height: 1, data: Uint8Array.from({ length: 24 }, (_, i) => (i % 12 < 6 ? 0 : 255)) };
    const values = resizeBicubic(stripes, 16, 3).data;
    expect([Math.min(...values), Math.max(...values)]).toEqual([0, 255]);
    const pixel = { width: 1, height: 1, data: Uint8Array.of(7, 130, 255) };
    expect([...resizeBicubic(pixel, 2, 2).data]).toEqual([7, 130, 255, 7, 130, 255, 7, 130, 255, 7, 130, 255]);
  });
});

describe('resizeBicubicFloat', () => {
  it.each(['11x11', '4x6', '7x3'])('equals torch at %s', async (size) => {
    const [channels, height, width] = fixture.entry('pos_grid').shape as [number, number, number];
    const grid = channelsLast(await fixture.readFloat32('pos_grid'), channels);
    const [outHeight, outWidth] = size.split('x').map(Number) as [number, number];
    const result = resizeBicubicFloat(grid, height, width, channels, outHeight, outWidth);
    const expected = channelsLast(await fixture.readFloat32(`torch_bicubic_aa.${size}`), channels);
    expect(maxAbsDifference(result, expected)).toBeLessThan(2e-6);
  });
});

/** [channels, positions] to [positions, channels]. */
function channelsLast(values: Float32Array, channels: number): Float32Array {
  const positions = values.length / channels;
  return values.map((_, i) => values[(i % channels) * positions + Math.floor(i / channels)]!);
}

describe('rounding as in Python', () => {
  it('rounds ties to even', () => {
    const values = [0.5, 1.5, 2.5, 16.5, -0.5, -1.5, -2.5, 2.4999, 2.5001, -2.6, 7];
    expect(values.map(roundHalfEven).map((value) => value + 0)).toEqual([0, 2, 2, 16, 0, -2, -2, 2, 3, -3, 7]);
  });

  it('formats one decimal', () => {
    // f"{x:.1f}" of CPython
    const expected: [number, string][] = [
      [0.25, '0.2'],
      [0.75, '0.8'],
      [2.25, '2.2'],
      [2.75, '2.8'],
      [0.35, '0.3'],
      [0.45, '0.5'],
      [1.05, '1.1'],
      [0.125, '0.1'],
      [1.625, '1.6'],
      [0.95, '0.9'],
      [99.95, '100.0'],
      [9.25, '9.2'],
      [1234567.25, '1234567.2'],
      [0, '0.0'],
      [-0.25, '-0.2'],
      [-0.01, '-0.0'],
      [3, '3.0'],
    ];
    for (const [value, text] of expected) expect(pythonFixed1(value)).toBe(text);
  });

  it('spaces numbers evenly', () => {
    expect(linspaceFromZero(9, 4)).toEqual([0, 3, 6, 9]);
    expect(linspaceFromZero(9, 1)).toEqual([0]);
    expect(linspaceFromZero(0, 1)).toEqual([0]);
    expect(linspaceFromZero(99, 7).at(-1)).toBe(99);
  });
});

import { describe, expect, it } from 'vitest';
import { correlation } from '../../src/kernels/correlation.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { type CorrelationSizes, correlationReference } from '../reference/correlation.ts';
import { readValues } from '../tensors.ts';

describe('correlation', () => {
  const device = useDevice();
  const random = new Random(28);

  const cases: [string, CorrelationSizes][] = [
    ['level 0', { map: [2, 9, 13, 16], tracks: 3, allFrames: 2, firstFrame: 0, scale: 1, radius: 4 }],
    [
      'a chunk of frames at a coarser level',
      { map: [2, 12, 7, 128], tracks: 5, allFrames: 6, firstFrame: 3, scale: 0.25, radius: 4 },
    ],
    ['a map of one row', { map: [1, 1, 6, 8], tracks: 4, allFrames: 1, firstFrame: 0, scale: 0.5, radius: 2 }],
    ['a map of one pixel', { map: [1, 1, 1, 4], tracks: 2, allFrames: 2, firstFrame: 1, scale: 0.125, radius: 0 }],
  ];
  it.each(cases)('equals the formula: %s', async (_, sizes) => {
    const [frames, height, width, channels] = sizes.map;
    const { tracks, allFrames, firstFrame, scale, radius } = sizes;
    const tokens = tracks * allFrames;
    const map = random.normal(frames * height * width * channels);
    const features = random.normal(tokens * channels);
    // Inside, at the border and far outside.
    const coords = Float32Array.from(
      { length: 2 * tokens },
      (__, i) => (random.uniform() * 1.6 - 0.3) * ((i % 2 === 0 ? width : height) / scale),
    );
    coords[2 * firstFrame] = 1e9;
    const side = (2 * radius + 1) ** 2;
    const out = device().upload(new Float32Array(tokens * (side + 3)).fill(7), [tracks, allFrames, side + 3], 'f32');
    correlation(
      device().upload(map, sizes.map, 'f32'),
      device().upload(features, [tracks, allFrames, channels], 'f32'),
      device().upload(coords, [tracks, allFrames, 2], 'f32'),
      out,
      { firstFrame, scale, radius, column: 2 },
    );
    const values = await readValues(out);
    const expected = correlationReference(map, features, coords, sizes);
    const found = new Float64Array(expected.length);
    for (let n = 0; n < tracks; n++)
      for (let s = 0; s < allFrames; s++) {
        const row = values.subarray((n * allFrames + s) * (side + 3), (n * allFrames + s + 1) * (side + 3));
        const isWritten = s >= firstFrame && s < firstFrame + frames;
        expect([row[0], row[1], row[side + 2]]).toEqual([7, 7, 7]);
        if (isWritten) found.set(row.subarray(2, side + 2), (n * frames + s - firstFrame) * side);
        else expect(row.every((value) => value === 7)).toBe(true);
      }
    expect(relativeL2(found, expected)).toBeLessThan(3e-6);
  });

  it('refuses frames and columns that do not exist', () => {
    const [map, features, coords] = [
      device().tensor([2, 4, 4, 8]),
      device().tensor([3, 2, 8]),
      device().tensor([3, 2, 2]),
    ];
    const run = (out: number[], firstFrame: number) => () =>
      correlation(map, features, coords, device().tensor(out), { firstFrame, scale: 1, radius: 1, column: 0 });
    expect(run([3, 2, 9], 1)).toThrow('correlation: frames from 1');
    expect(run([3, 2, 8], 0)).toThrow('with radius 1 do not lie in [3,2,8] f32');
    expect(run([3, 3, 9], 0)).toThrow('expected [3,2,9]');
  });
});

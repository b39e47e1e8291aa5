import { describe, expect, it } from 'vitest';
import { trackUpdate } from '../../src/kernels/track_update.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { trackUpdateReference } from '../reference/track_update.ts';
import { readValues } from '../tensors.ts';

describe('trackUpdate', () => {
  const device = useDevice();
  const random = new Random(30);

  it.each([
    [1, 1, 2],
    [5, 3, 18],
    [33, 7, 130],
  ])('moves %s tracks in %s frames, except in the first', async (tracks, frames, width) => {
    const [start, delta] = [random.normal(2 * tracks * frames, 50), random.normal(tracks * frames * width)];
    const coords = device().upload(start, [tracks, frames, 2], 'f32');
    trackUpdate(coords, device().upload(delta, [tracks, frames, width], 'f32'));
    const moved = await readValues(coords);
    expect(maxAbsDifference(moved, trackUpdateReference(start, delta, frames, width))).toBeLessThan(1e-5);
    for (let n = 0; n < tracks; n++)
      expect(moved.slice(2 * n * frames, 2 * n * frames + 2)).toEqual(start.slice(2 * n * frames, 2 * n * frames + 2));
  });

  it('refuses operands that do not fit', () => {
    expect(() => trackUpdate(device().tensor([2, 3, 2]), device().tensor([2, 2, 18]))).toThrow(
      'trackUpdate: coords [2,3,2] f32 and delta [2,2,18] f32',
    );
  });
});

import { describe, expect, it } from 'vitest';
import { trackTokens } from '../../src/kernels/track_tokens.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { trackTokensReference } from '../reference/track_tokens.ts';
import { readValues } from '../tensors.ts';

describe('trackTokens', () => {
  const device = useDevice();
  const random = new Random(29);

  it.each([
    [3, 4, 16],
    [1, 1, 4],
    [7, 3, 128],
  ] as [number, number, number][])(
    'equals the formula: %s tracks, %s frames, %s channels',
    async (tracks, frames, channels) => {
      const width = 3 * channels + 4;
      const shapes = {
        coords: [tracks, frames, 2],
        corr: [tracks, frames, channels],
        features: [tracks, frames, channels],
        positions: [tracks, width],
        reference: [2, width],
      };
      // Movements of a hundred pixels make angles of 1e5.
      const values = Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => [
          name,
          random.normal(
            shape.reduce((a, b) => a * b),
            name === 'coords' ? 80 : 1,
          ),
        ]),
      ) as Record<keyof typeof shapes, Float32Array<ArrayBuffer>>;
      const tensors = Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => [
          name,
          device().upload(values[name as keyof typeof shapes], shape, 'f32'),
        ]),
      ) as Record<keyof typeof shapes, ReturnType<typeof trackTokens>>;
      const out = await readValues(trackTokens({ ...tensors, maxScale: 518 }));
      expect(maxAbsDifference(out, trackTokensReference(values, [tracks, frames, channels], 518))).toBeLessThan(2e-5);
    },
  );

  it('refuses operands that do not fit', () => {
    const t = (...shape: number[]) => device().tensor(shape);
    const state = {
      coords: t(2, 3, 2),
      corr: t(2, 3, 8),
      features: t(2, 3, 8),
      positions: t(2, 28),
      reference: t(2, 28),
      maxScale: 518,
    };
    expect(() => trackTokens({ ...state, coords: t(2, 2, 2) })).toThrow(
      'trackTokens: coords is [2,2,2] f32; expected [2,3,2]',
    );
    expect(() => trackTokens({ ...state, reference: t(1, 28) })).toThrow('reference is [1,28] f32; expected [2,28]');
  });
});

import { describe, expect, it } from 'vitest';
import { modulate } from '../../src/kernels/modulate.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { modulateReference } from '../reference/modulate.ts';
import { readValues } from '../tensors.ts';

describe('modulate', () => {
  const device = useDevice();
  const random = new Random(27);

  it.each([
    [1, 1],
    [3, 96],
    [2, 257],
    [5, 2048],
  ])('equals the formula: %s tokens of %s', async (tokens, dim) => {
    const [x, normed, modulation] = [
      random.normal(tokens * dim),
      random.normal(tokens * dim),
      random.normal(3 * tokens * dim),
    ];
    const y = modulate(
      device().upload(x, [tokens, dim], 'f32'),
      device().upload(normed, [tokens, dim], 'f32'),
      device().upload(modulation, [tokens, 3 * dim], 'f32'),
    );
    expect(maxAbsDifference(await readValues(y), modulateReference(x, normed, modulation, dim))).toBeLessThan(1e-5);
  });

  it('refuses operands that do not fit', () => {
    const x = device().tensor([2, 4]);
    expect(() => modulate(x, x, device().tensor([2, 8]))).toThrow('modulate: modulation is [2,8] f32; expected [2,12]');
  });
});

import { describe, expect, it } from 'vitest';
import { gatedRmsNorm } from '../../src/kernels/gated_rms_norm.ts';
import { heads } from '../../src/kernels/heads.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { gatedRmsNorm as reference } from '../reference/gated_rms_norm.ts';
import { headIndices } from '../reference/heads.ts';
import { readValues } from '../tensors.ts';

describe('gatedRmsNorm', () => {
  const device = useDevice();
  const random = new Random(3);

  const sizes: [number, number, number][] = [
    [1, 1, 1],
    [1, 32, 128],
    [7, 4, 128],
    [33, 3, 12],
    [5, 2, 257],
    [3, 2, 64],
  ];
  it.each(sizes)('equals the formula for %i tokens, %i heads of %i', async (tokens, count, dim) => {
    const o = random.normal(tokens * count * dim, 2);
    const weight = random.normal(dim);
    const view = { tokens, heads: count, dim, tokenStride: count * (dim + 3) + 5, headStride: dim + 3, offset: 2 };
    const z = random.normal(2 + tokens * view.tokenStride, 4);
    z[2] = -500; // exp(500) overflows
    const expected = reference(
      o,
      weight,
      headIndices(view).map((i) => z[i]!),
      1e-6,
    );
    const operands = [
      device().upload(o, [tokens, count, dim], 'f32'),
      device().upload(weight, [dim], 'f32'),
      heads(device().upload(z, [z.length], 'f32'), view),
    ] as const;
    const y = gatedRmsNorm(...operands, { eps: 1e-6 });
    expect(y.shape).toEqual([tokens, count * dim]);
    if (expected.some((value) => Math.abs(value) > 1e-30))
      expect(relativeL2(await readValues(y), expected)).toBeLessThan(1e-6);
    else expect(Math.abs((await readValues(y))[0]!)).toBeLessThan(1e-30);
    if (dim % 2 === 0)
      expect(
        relativeL2(await readValues(gatedRmsNorm(...operands, { eps: 1e-6, dtype: 'f16' })), expected),
      ).toBeLessThan(1e-3);
  });

  it('refuses wrong operands', () => {
    const o = device().tensor([2, 2, 4]);
    const z = heads(device().tensor([2, 8]), { tokens: 2, heads: 1, dim: 4, tokenStride: 8 });
    expect(() => gatedRmsNorm(o, device().tensor([4]), z, { eps: 0 })).toThrow('z has 2 x 1 x 4 elements');
    expect(() => heads(device().tensor([2, 8]), { tokens: 2, heads: 2, dim: 4, tokenStride: 8, offset: 1 })).toThrow(
      'reach element 16',
    );
  });
});

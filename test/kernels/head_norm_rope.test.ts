import { describe, expect, it } from 'vitest';
import { type HeadNorm, headNormRope } from '../../src/kernels/head_norm_rope.ts';
import { heads } from '../../src/kernels/heads.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { rope as referenceRope } from '../reference/head_norm_rope.ts';
import { headIndices } from '../reference/heads.ts';
import { layerNorm } from '../reference/layer_norm.ts';
import { rmsNorm } from '../reference/rms_norm.ts';
import { quantise, readValues, uploadAs } from '../tensors.ts';

interface Case {
  readonly name: string;
  readonly tokens: number;
  readonly heads: number;
  readonly dim: number;
  readonly norm?: 'rms' | 'layer';
  readonly weightOffset?: 0 | 1;
  readonly half?: number;
  readonly blocks?: number;
}

const cases: Case[] = [
  { name: 'text queries', tokens: 3, heads: 16, dim: 256, norm: 'rms', weightOffset: 1, half: 32, blocks: 1 },
  { name: 'one text key', tokens: 1, heads: 4, dim: 256, norm: 'rms', weightOffset: 1, half: 32, blocks: 1 },
  { name: 'vision', tokens: 19, heads: 3, dim: 72, half: 36, blocks: 1 },
  { name: 'VGGT', tokens: 13, heads: 5, dim: 64, norm: 'layer', half: 16, blocks: 2 },
  { name: 'tiny VGGT', tokens: 50, heads: 4, dim: 12, norm: 'layer', half: 3, blocks: 2 },
  { name: 'tiny text', tokens: 9, heads: 2, dim: 16, norm: 'rms', half: 2, blocks: 1 },
  { name: 'norm alone', tokens: 4, heads: 3, dim: 66, norm: 'layer' },
  { name: 'long heads', tokens: 2, heads: 1, dim: 2050, norm: 'rms', half: 512, blocks: 2 },
  { name: 'pairs that do not come out even', tokens: 2, heads: 3, dim: 264, norm: 'layer', half: 64, blocks: 2 },
  { name: 'a plain move', tokens: 5, heads: 2, dim: 10 },
  { name: 'a plain move of quads', tokens: 5, heads: 2, dim: 24 },
];

/** What inputs and results are stored as, and whether both begin at multiples of four elements, row after row. */
const layouts = [
  { from: 'f32', to: 'f32', aligned: false, tolerance: 2e-6 },
  { from: 'f16', to: 'f16', aligned: false, tolerance: 1e-3 },
  { from: 'f32', to: 'f16', aligned: true, tolerance: 1e-3 },
  { from: 'f16', to: 'f32', aligned: true, tolerance: 2e-6 },
] as const;

describe('headNormRope', () => {
  const device = useDevice();
  const random = new Random(4);

  it.each(cases.flatMap((one) => layouts.map((layout) => ({ ...one, ...layout }))))(
    'equals the formulas for $name, $from to $to, aligned $aligned',
    async ({ tokens, heads: count, dim, norm: kind, weightOffset = 0, half = 0, blocks = 0, ...layout }) => {
      const { from, to, aligned, tolerance } = layout;
      const [shift, gap, start] = aligned ? [4, 8, 4] : [3, 1, 6];
      const inView = {
        tokens,
        heads: count,
        dim,
        tokenStride: 2 * count * dim + gap,
        headStride: 2 * dim,
        offset: shift,
      };
      const outView = { tokens, heads: count, dim, tokenStride: count * dim + 4, headStride: dim, offset: start };
      const input = quantise(random.normal(shift + tokens * inView.tokenStride, 5), from);
      const angles = random.normal(tokens * blocks * half, 20);
      const [weight, bias] = [random.normal(dim), random.normal(dim)];

      let expected = Float64Array.from(headIndices(inView), (i) => input[i]!);
      if (kind === 'rms') expected = Float64Array.from(rmsNorm(expected, weight, 1e-6, weightOffset));
      if (kind === 'layer') expected = Float64Array.from(layerNorm(expected, dim, 1e-5, weight, bias));
      if (blocks > 0) expected = Float64Array.from(referenceRope(expected, [tokens, count, dim], angles, half, blocks));

      const w = device().upload(weight, [dim], 'f32');
      const norms: Record<'rms' | 'layer', HeadNorm> = {
        rms: { kind: 'rms', weight: w, eps: 1e-6, weightOffset },
        layer: { kind: 'layer', weight: w, bias: device().upload(bias, [dim], 'f32'), eps: 1e-5 },
      };
      const table = device().upload(
        Float32Array.from([...angles].flatMap((angle) => [Math.cos(angle), Math.sin(angle)])),
        [tokens, blocks * half, 2],
        'f32',
      );
      const source = heads(uploadAs(device(), input, [input.length], from), inView);
      const target = device().clear(device().tensor([start + tokens * outView.tokenStride], to));
      headNormRope(source, heads(target, outView), {
        ...(kind === undefined ? {} : { norm: norms[kind] }),
        ...(blocks === 0 ? {} : { rope: { table, half, blocks } }),
      });
      const values = await readValues(target);
      const indices = headIndices(outView);
      expect(
        relativeL2(
          indices.map((i) => values[i]!),
          expected,
        ),
      ).toBeLessThan(tolerance);
      const written = new Set(indices);
      expect(values.filter((value, i) => !written.has(i) && value !== 0).length).toBe(0);
    },
  );

  it('refuses wrong operands', () => {
    const view = { tokens: 2, heads: 2, dim: 4, tokenStride: 8 };
    const input = heads(device().tensor([16]), view);
    expect(() => headNormRope(input, input, {})).toThrow('share a buffer');
    expect(() => headNormRope(heads(device().tensor([16], 'bf16'), view), input, {})).toThrow('bf16');
    expect(() => headNormRope(input, heads(device().tensor([17], 'f16'), { ...view, offset: 1 }), {})).toThrow(
      'even dim',
    );
    const rope = { table: device().tensor([2, 3, 2]), half: 3, blocks: 1 };
    expect(() => headNormRope(input, heads(device().tensor([16]), view), { rope })).toThrow('exceed heads of 4');
  });
});

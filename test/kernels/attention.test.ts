import { describe, expect, it } from 'vitest';
import { ATTENTION_VARIANTS, attention, attentionSupports } from '../../src/kernels/attention.ts';
import { heads } from '../../src/kernels/heads.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { attentionReference } from '../reference/attention.ts';
import { quantise, readValues, uploadAs } from '../tensors.ts';

const device = useDevice();

interface Case {
  queries: number;
  keys: number;
  heads: number;
  kvHeads: number;
  dim: number;
  segments: number;
  causal: boolean;
}

const cases: Case[] = [
  { queries: 1, keys: 1, heads: 1, kvHeads: 1, dim: 2, segments: 1, causal: true },
  { queries: 1, keys: 77, heads: 4, kvHeads: 2, dim: 32, segments: 1, causal: true },
  { queries: 1, keys: 700, heads: 4, kvHeads: 1, dim: 256, segments: 1, causal: true },
  { queries: 1, keys: 16500, heads: 2, kvHeads: 2, dim: 8, segments: 1, causal: true },
  { queries: 33, keys: 33, heads: 4, kvHeads: 1, dim: 12, segments: 3, causal: false },
  { queries: 65, keys: 130, heads: 2, kvHeads: 2, dim: 72, segments: 1, causal: true },
  { queries: 40, keys: 129, heads: 4, kvHeads: 4, dim: 64, segments: 2, causal: false },
  { queries: 70, keys: 70, heads: 4, kvHeads: 2, dim: 256, segments: 1, causal: true },
  { queries: 50, keys: 90, heads: 2, kvHeads: 1, dim: 120, segments: 2, causal: false },
  { queries: 130, keys: 200, heads: 2, kvHeads: 1, dim: 64, segments: 2, causal: true },
];

describe.each(ATTENTION_VARIANTS)('attention %s', (variant) => {
  // What flash_register takes longest to compile for is left to `decode`; heads of 120 have a tile of their own on matrices.
  const asked = cases.filter(
    ({ queries, keys, dim }) =>
      (variant !== 'flash_register' || queries > 1 || keys > 1000) && (variant === 'flash_matrix' || dim !== 120),
  );
  it.each(asked)('agrees with the naive sum: %o', async (shape) => {
    const { queries, keys, kvHeads, dim, segments, causal } = shape;
    const random = new Random(queries * 131 + keys);
    // Each combination compiles a shader of its own, which takes a software GPU seconds.
    const dtypes = [
      ['f32', 'f32', 'f32'],
      ['f32', 'f16', 'f32'],
      ['f16', 'f16', 'f16'],
      ...(variant === 'flash_matrix' ? ([['f16', 'f16', 'f32']] as const) : []),
    ] as const;
    // Of flash_register even more seconds: there the combinations take turns.
    const turn = cases.indexOf(shape) % dtypes.length;
    for (const [qDtype, kvDtype, dtype] of variant === 'flash_register' ? [dtypes[turn]!] : dtypes) {
      const q = quantise(random.normal(segments * queries * shape.heads * dim), qDtype);
      const k = quantise(random.normal(segments * keys * kvHeads * dim), kvDtype);
      const v = quantise(random.normal(segments * keys * kvHeads * dim), kvDtype);
      const scale = 1.5 / Math.sqrt(dim);
      const expected = attentionReference({ q, k, v, heads: shape.heads, kvHeads, dim, segments, scale, causal });
      const view = (values: Float32Array, count: number, dtype: 'f32' | 'f16') =>
        heads(uploadAs(device(), values, [values.length], dtype), {
          tokens: values.length / (count * dim),
          heads: count,
          dim,
          tokenStride: count * dim,
        });
      const operands = [view(q, shape.heads, qDtype), view(k, kvHeads, kvDtype), view(v, kvHeads, kvDtype)] as const;
      if (!attentionSupports(variant, ...operands)) continue;
      const out = attention(...operands, { scale, causal, segments, dtype, variant });
      expect(out.shape).toEqual([segments * queries, shape.heads * dim]);
      // Sums over many keys whose values cancel lose digits relative to the little that is left.
      const tolerance = dtype === 'f32' && variant !== 'flash_matrix' ? Math.max(2e-6, 2e-7 * Math.sqrt(keys)) : 1e-3;
      expect(relativeL2(await readValues(out), expected)).toBeLessThan(tolerance);
    }
  });

  it('reads strided views: queries, keys and values inside one fused projection', async () => {
    const [tokens, count, dim] = [variant === 'decode' ? 1 : 37, 3, 16];
    const packed = new Random(9).normal(tokens * 3 * count * dim);
    const tensor = uploadAs(device(), packed, [tokens, 3 * count * dim]);
    const part = (i: number) =>
      heads(tensor, { tokens, heads: count, dim, tokenStride: 3 * count * dim, offset: i * count * dim });
    const slice = (i: number) =>
      Float32Array.from(
        { length: tokens * count * dim },
        (_, j) => packed[Math.floor(j / (count * dim)) * 3 * count * dim + i * count * dim + (j % (count * dim))]!,
      );
    if (!attentionSupports(variant, part(0), part(1), part(2))) return;
    const expected = attentionReference({
      q: slice(0),
      k: slice(1),
      v: slice(2),
      heads: count,
      kvHeads: count,
      dim,
      segments: 1,
      scale: 0.25,
      causal: false,
    });
    expect(relativeL2(await readValues(attention(part(0), part(1), part(2), { variant })), expected)).toBeLessThan(
      2e-6,
    );
  });

  // Wide heads have a kernel on matrices of their own.
  it.each(variant === 'flash_matrix' ? [64, 256] : [64])(
    'follows maxima that move with every few keys: %o',
    async (dim) => {
      const [queries, keys, count] = [variant === 'decode' ? 1 : 70, 150, 2];
      const random = new Random(keys);
      const dtype = variant === 'flash_matrix' ? 'f16' : 'f32';
      const make = (tokens: number, steepness: number) => {
        const width = count * dim;
        const values = random.normal(tokens * width).map((value, i) => value * (1 + steepness * Math.floor(i / width)));
        return quantise(values, dtype);
      };
      const [q, k, v] = [make(queries, 0), make(keys, 0.1), make(keys, 0)];
      const view = (values: Float32Array) =>
        heads(uploadAs(device(), values, [values.length], dtype), {
          tokens: values.length / (count * dim),
          heads: count,
          dim,
          tokenStride: count * dim,
        });
      const operands = [view(q), view(k), view(v)] as const;
      if (!attentionSupports(variant, ...operands)) return;
      const sizes = { heads: count, kvHeads: count, dim, segments: 1, scale: 1, causal: false };
      const expected = attentionReference({ q, k, v, ...sizes });
      const out = await readValues(attention(...operands, { scale: 1, variant }));
      expect(relativeL2(out, expected)).toBeLessThan(variant === 'flash_matrix' ? 1e-3 : 1e-4);
    },
  );

  it('survives scores whose exponentials would overflow', async () => {
    const queries = variant === 'decode' ? 1 : 40;
    const dtype = variant === 'flash_matrix' ? 'f16' : 'f32';
    const make = (value: number, tokens: number) =>
      heads(uploadAs(device(), new Float32Array(tokens * 8).fill(value), [tokens, 8], dtype), {
        tokens,
        heads: 1,
        dim: 8,
        tokenStride: 8,
      });
    const operands = [make(300, queries), make(300, 40), make(2, 40)] as const;
    if (!attentionSupports(variant, ...operands)) return;
    const out = await readValues(attention(...operands, { variant }));
    expect(relativeL2(out, new Float32Array(queries * 8).fill(2))).toBeLessThan(1e-6);
  });
});

it('refuses operands that do not fit', () => {
  const view = (tokens: number, count: number, dim: number) =>
    heads(device().tensor([tokens, count * dim]), { tokens, heads: count, dim, tokenStride: count * dim });
  expect(() => attention(view(4, 3, 8), view(4, 2, 8), view(4, 2, 8))).toThrow(/do not fit/);
  expect(() => attention(view(4, 2, 8), view(3, 2, 8), view(3, 2, 8), { causal: true })).toThrow(
    /a key for every query/,
  );
  expect(() => attention(view(4, 2, 8), view(4, 2, 8), view(4, 2, 8), { scale: -1 })).toThrow(/must not be negative/);
  expect(() => attention(view(4, 1, 514), view(4, 1, 514), view(4, 1, 514))).toThrow(/head size/);
  const wide = view(1, 1, 2056);
  expect(attentionSupports('decode', wide, wide, wide)).toBe(false);
});

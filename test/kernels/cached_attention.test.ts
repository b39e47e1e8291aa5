import { describe, expect, it } from 'vitest';
import { fitted } from '../../src/kernels/attention_decode.ts';
import { cachedAttention } from '../../src/kernels/cached_attention.ts';
import { createCursor } from '../../src/kernels/cursor.ts';
import { heads } from '../../src/kernels/heads.ts';
import type { Feature } from '../../src/tensor/gpu.ts';
import type { Tile } from '../../src/tensor/tiles.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { attentionReference } from '../reference/attention.ts';
import { sigmoidGate } from '../reference/elementwise.ts';
import { rope } from '../reference/head_norm_rope.ts';
import { rmsNorm } from '../reference/rms_norm.ts';
import { readValues, uploadAs } from '../tensors.ts';

interface Sizes {
  readonly count: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly half: number;
}

/** Everything about a sequence, on the CPU in double: what attention to its last `last` tokens gives. */
function reference(rows: Float64Array[], angles: number[][], weights: Float32Array[], sizes: Sizes, last: number) {
  const { count, kvHeads, dim, half } = sizes;
  const part = (offset: number, number: number, stride: number) =>
    rows.flatMap((row) =>
      Array.from({ length: number }, (_, h) => [
        ...row.subarray(offset + h * stride, offset + h * stride + dim),
      ]).flat(),
    );
  const turned = (values: number[], number: number, weight: Float32Array) =>
    rope(
      Float64Array.from(rmsNorm(values, weight, 1e-6, 1)),
      [rows.length, number, dim],
      Float64Array.from(angles.flat()),
      half,
      1,
    );
  const q = turned(part(0, count, 2 * dim), count, weights[0]!).slice((rows.length - last) * count * dim);
  const k = turned(part(2 * count * dim, kvHeads, dim), kvHeads, weights[1]!);
  const v = part((2 * count + kvHeads) * dim, kvHeads, dim);
  const attended = attentionReference({
    q: Float32Array.from(q),
    k: Float32Array.from(k),
    v: Float32Array.from(v),
    heads: count,
    kvHeads,
    dim,
    segments: 1,
    scale: 1 / Math.sqrt(dim),
    causal: true,
  });
  const gate = part(dim, count, 2 * dim).slice((rows.length - last) * count * dim);
  return { out: sigmoidGate(attended, gate), k, v };
}

interface Case {
  readonly sizes: Sizes;
  readonly dtype: 'f32' | 'f16';
  readonly fused: number;
  readonly prompt: number;
  readonly disable?: readonly Feature[];
  readonly tile?: Tile;
}

const small = { count: 4, kvHeads: 2, dim: 16, half: 3 };

describe.each([
  { sizes: small, dtype: 'f32', fused: 0, prompt: 61 },
  { sizes: small, dtype: 'f32', fused: 1, prompt: 61 },
  { sizes: small, dtype: 'f32', fused: 1, prompt: 61, disable: ['subgroups'] },
  { sizes: { count: 3, kvHeads: 1, dim: 40, half: 20 }, dtype: 'f16', fused: 1, prompt: 126 },
  { sizes: { count: 3, kvHeads: 1, dim: 40, half: 20 }, dtype: 'f16', fused: 1, prompt: 126, disable: ['subgroups'] },
  // Several rounds of a workgroup's teams, and more dims turned than not.
  {
    sizes: { count: 8, kvHeads: 4, dim: 64, half: 24 },
    dtype: 'f16',
    fused: 1,
    prompt: 600,
    tile: { WORKGROUPS: 16, BATCH: 4 },
  },
  // More queries a key head than one workgroup has memory for.
  { sizes: { count: 9, kvHeads: 1, dim: 256, half: 32 }, dtype: 'f16', fused: 1, prompt: 62 },
  // A head size that the one-token kernels do not take.
  { sizes: { count: 2, kvHeads: 2, dim: 12, half: 2 }, dtype: 'f16', fused: 1, prompt: 9 },
] as const satisfies Case[])('attention over a cache: %o', ({ sizes, dtype, fused, prompt, disable, tile }: Case) => {
  const device = useDevice(disable);

  it('prompts and single tokens agree with the formulas', async () => {
    device().tuning.set('attention/step', { FUSED: fused });
    if (tile !== undefined) device().tuning.set('attention/decode subgroups', tile);
    const { count, kvHeads, dim, half } = sizes;
    const random = new Random(dim + prompt);
    const stride = 2 * (count + kvHeads) * dim;
    const capacity = prompt + 5;
    const weights = [random.normal(dim, 0.3), random.normal(dim, 0.3)];
    const norm = (i: number) =>
      ({ kind: 'rms', weight: uploadAs(device(), weights[i]!, [dim]), eps: 1e-6, weightOffset: 1 }) as const;
    const cache = {
      k: device().persistent([capacity, kvHeads, dim], dtype),
      v: device().persistent([capacity, kvHeads, dim], dtype),
    };
    const angles = Array.from({ length: capacity }, () => [...random.normal(half, 3)]);
    const tableOf = (rows: number[][]) =>
      uploadAs(device(), Float32Array.from(rows.flat().flatMap((a) => [Math.cos(a), Math.sin(a)])), [
        rows.length,
        half,
        2,
      ]);
    const canDecode = dim % 8 === 0;
    const rows: Float64Array[] = [];
    for (const [tokens, atCursor] of [
      [1, canDecode && dim > 16],
      [prompt - 1, false],
      [1, canDecode],
      [1, canDecode],
      [1, canDecode],
      [2, false],
    ] as const) {
      const values = random.normal(tokens * stride);
      for (let t = 0; t < tokens; t++) rows.push(Float64Array.from(values.subarray(t * stride, (t + 1) * stride)));
      const seen = rows.length - tokens;
      const projection = uploadAs(device(), values, [tokens, stride]);
      const view = (number: number, offset: number, headStride = dim) =>
        heads(projection, { tokens, heads: number, dim, tokenStride: stride, headStride, offset });
      const cursor = atCursor ? createCursor(device(), { seen, drawn: 2 }) : undefined;
      // The cursor says that two tokens were drawn.
      const table = tableOf(
        atCursor ? [[...angles[0]!], [...angles[0]!], angles[seen]!] : angles.slice(seen, rows.length),
      );
      const out = cachedAttention(
        {
          query: view(count, 0, 2 * dim),
          gate: view(count, dim, 2 * dim),
          key: view(kvHeads, 2 * count * dim),
          value: view(kvHeads, (2 * count + kvHeads) * dim),
        },
        cache,
        {
          qNorm: norm(0),
          kNorm: norm(1),
          rope: { table, half, blocks: 1, cursor },
          total: cursor === undefined ? rows.length : capacity,
          cursor,
          dtype,
        },
      );
      expect([out.dtype, ...out.shape]).toEqual([dtype, tokens, count * dim]);
      const expected = reference(rows, angles.slice(0, rows.length), weights, sizes, tokens);
      const tolerance = dtype === 'f32' ? 4e-6 : 2e-3;
      expect(relativeL2(await readValues(out), expected.out)).toBeLessThan(tolerance);
      const stored = rows.length * kvHeads * dim;
      expect(relativeL2((await readValues(cache.k)).slice(0, stored), expected.k)).toBeLessThan(tolerance);
      expect(relativeL2((await readValues(cache.v)).slice(0, stored), expected.v)).toBeLessThan(tolerance);
      if (cursor !== undefined) device().destroyTensor(cursor);
    }
    for (const tensor of Object.values(cache)) device().destroyTensor(tensor);
  });
});

it('takes fewer keys, then fewer heads, where a workgroup has little memory', () => {
  const wanted = { chunk: 512, most: 8 };
  expect(fitted(4, 256, wanted, 49152)).toEqual({ chunk: 512, group: 4 });
  expect(fitted(8, 256, wanted, 32768)).toEqual({ chunk: 256, group: 8 });
  expect(fitted(4, 256, wanted, 16384)).toEqual({ chunk: 128, group: 4 });
  expect(fitted(6, 256, { chunk: 64, most: 8 }, 16384)).toEqual({ chunk: 64, group: 3 });
});

describe('attention over a cache', () => {
  const device = useDevice();

  it('refuses operands that do not fit', () => {
    const view = { tokens: 1, heads: 1, dim: 8, tokenStride: 8 };
    const row = heads(device().tensor([1, 8]), view);
    const projected = { query: row, key: row, value: row, gate: row };
    const cache = { k: device().tensor([4, 1, 8]), v: device().tensor([4, 1, 8]) };
    const weight = device().tensor([8]);
    const norm = { kind: 'rms', weight, eps: 1e-6 } as const;
    const rope = { table: device().tensor([1, 2, 2]), half: 2, blocks: 1 };
    const options = { qNorm: norm, kNorm: norm, rope, total: 1, dtype: 'f32' } as const;
    device().tuning.set('attention/step', { FUSED: 1 });
    expect(() => cachedAttention(projected, cache, { ...options, total: 5 })).toThrow(/reach element/);
    expect(() => cachedAttention(projected, cache, { ...options, rope: { ...rope, half: 1 } })).toThrow(/the table/);
    const short = { ...norm, weight: device().tensor([4]) };
    expect(() => cachedAttention(projected, cache, { ...options, kNorm: short })).toThrow(/the keys' norm/);
    const wide = { ...row, heads: 2 };
    expect(() => cachedAttention({ ...projected, gate: wide }, cache, options)).toThrow(/a gate 1x2x8/);
  });
});

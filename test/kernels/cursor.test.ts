import { afterEach, describe, expect, it } from 'vitest';
import { attention } from '../../src/kernels/attention.ts';
import { advance, createCursor } from '../../src/kernels/cursor.ts';
import { headNormRope } from '../../src/kernels/head_norm_rope.ts';
import { heads } from '../../src/kernels/heads.ts';
import { KernelError } from '../../src/tensor/errors.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { advanceReference } from '../reference/cursor.ts';

const device = useDevice();

afterEach(() => {
  device().tuning.clear();
});

describe('a cursor', () => {
  it('moves on by one token at a time', async () => {
    let expected = { seen: 511, drawn: 0 };
    const cursor = createCursor(device(), expected);
    for (let i = 0; i < 3; i++) {
      advance(cursor);
      expected = advanceReference(expected);
    }
    expect([...(await device().readInt32(cursor))]).toEqual([expected.seen, expected.drawn]);
    device().destroyTensor(cursor);
  });

  it('is two u32', () => {
    expect(() => advance(device().tensor([3], 'u32'))).toThrow(KernelError);
    expect(() => advance(device().tensor([2], 'i32'))).toThrow(KernelError);
  });
});

describe('a recording', () => {
  it('attends at its cursor as an attention that is told the number of keys, over several splits and group sizes', async () => {
    const random = new Random(5);
    const [capacity, dim] = [200, 16];
    // A CPU takes one head a workgroup; a GPU takes several.
    for (const [count, kvHeads, tile] of [
      [4, 2, undefined],
      [12, 1, { GROUP: 4, VALUES: 4 }],
    ] as const) {
      if (tile !== undefined) device().tuning.set('attention/decode', tile);
      const upload = (tokens: number, perToken: number) =>
        heads(device().upload(random.normal(tokens * perToken * dim), [tokens, perToken * dim], 'f32', true), {
          tokens,
          heads: perToken,
          dim,
          tokenStride: perToken * dim,
        });
      const [q, k, v] = [upload(1, count), upload(capacity, kvHeads), upload(capacity, kvHeads)];
      const cursor = createCursor(device(), { seen: 62, drawn: 0 });
      const result = device().persistent([1, count * dim], 'f32');
      const recording = device().record(() => {
        device().copy(attention(q, k, v, { causal: true, cursor }), 0, result, 0, result.size);
        advance(cursor);
      });
      for (const tokens of [63, 64, 65, 66]) {
        device().replay(recording);
        const seen = (all: typeof k) => ({ ...all, tokens });
        const expected = device().tidy(() => attention(q, seen(k), seen(v), { causal: true, variant: 'decode' }));
        expect(await device().readFloat32(result)).toEqual(await device().readFloat32(expected));
        device().dispose(expected);
      }
      device().releaseRecording(recording);
    }
  });

  it('places keys and turns them by the cursor', async () => {
    const [dim, rows] = [8, 5];
    const random = new Random(6);
    const key = heads(device().upload(random.normal(dim), [1, dim], 'f32', true), {
      tokens: 1,
      heads: 1,
      dim,
      tokenStride: dim,
    });
    const table = device().upload(random.normal(rows * 4 * 2), [rows, 4, 2], 'f32', true);
    const cache = device().clear(device().persistent([10, dim], 'f32'));
    const cursor = createCursor(device(), { seen: 6, drawn: 2 });
    const slot = heads(cache, { tokens: 1, heads: 1, dim, tokenStride: dim });
    const recording = device().record(() => {
      headNormRope(key, slot, { rope: { table, half: 4, blocks: 1, cursor }, cursor });
      advance(cursor);
    });
    for (let i = 0; i < 3; i++) device().replay(recording);
    const found = await device().readFloat32(cache);
    for (let i = 0; i < 3; i++) {
      const row = device().tensor([1, 4, 2]);
      device().copy(table, (2 + i) * 8, row, 0, 8);
      const out = device().tensor([1, dim]);
      headNormRope(key, heads(out, { tokens: 1, heads: 1, dim, tokenStride: dim }), {
        rope: { table: row, half: 4, blocks: 1 },
      });
      expect(found.subarray((6 + i) * dim, (7 + i) * dim)).toEqual(await device().readFloat32(out));
    }
    expect(found.subarray(0, 6 * dim).every((value) => value === 0)).toBe(true);
    device().releaseRecording(recording);
  });
});

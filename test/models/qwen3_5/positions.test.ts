import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import { mropePositions, rotaryTable } from '../../../src/models/qwen3_5/positions.ts';

const IDS = { imageTokenId: 7, videoTokenId: 8 };
const NONE = { image: [], video: [] };

async function grids(file: Checkpoint, name: string): Promise<number[][]> {
  if (!file.has(name)) return [];
  const flat = Array.from(await file.readInt32(name));
  return Array.from({ length: flat.length / 3 }, (_, i) => flat.slice(3 * i, 3 * i + 3));
}

describe('mropePositions', () => {
  it.each([
    ['qwen3_5-tiny/reference/image', 762],
    ['qwen3_5-tiny/reference/images', 762],
    ['qwen3_5-tiny/reference/video', 762],
    ['qwen3_5-headdim/reference/image', 634],
    ['spatialstack-tiny/reference/image', 762],
    ['spatialstack-tiny/reference/images', 762],
    ['spatialstack-tiny/reference/images_last', 762],
  ])('equals the reference of %s', async (path, imageTokenId) => {
    const file = await Checkpoint.open(`test/fixtures/${path}.safetensors`);
    try {
      const gridThw = { image: await grids(file, 'image_grid_thw'), video: await grids(file, 'video_grid_thw') };
      const ids = { imageTokenId, videoTokenId: imageTokenId + 1 };
      const { positions, ropeDelta } = mropePositions(await file.readInt32('input_ids'), gridThw, ids, 2);
      expect(positions).toEqual(await file.readInt32('mrope_position_ids'));
      expect([ropeDelta]).toEqual(Array.from(await file.readInt32('rope_delta')));
    } finally {
      await file.close();
    }
  });

  it('follows the worked example of the specification', () => {
    const inputIds = Int32Array.of(0, 0, 0, 0, 0, 1, 7, 7, 7, 7, 7, 7, 2, 0, 0);
    const { positions, ropeDelta } = mropePositions(inputIds, { image: [[1, 4, 6]], video: [] }, IDS, 2);
    expect(Array.from(positions)).toEqual([
      ...[0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 9, 10, 11],
      ...[0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7, 9, 10, 11],
      ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8, 9, 10, 11],
    ]);
    expect(ropeDelta).toBe(-3);
  });

  it('counts text on all three axes', () => {
    const { positions, ropeDelta } = mropePositions(Int32Array.of(5, 6, 9), NONE, IDS, 2);
    expect(Array.from(positions)).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2]);
    expect(ropeDelta).toBe(0);
    expect(mropePositions(new Int32Array(0), NONE, IDS, 2).ropeDelta).toBe(0);
  });

  it('refuses placeholders that do not match the grids', () => {
    const square = { image: [[1, 4, 4]], video: [] };
    expect(() => mropePositions(Int32Array.of(7, 7, 7), square, IDS, 2)).toThrow(InputError);
    expect(() => mropePositions(Int32Array.of(7, 7, 7, 7, 7), square, IDS, 2)).toThrow(/needs 4 .* found 5/);
    expect(() => mropePositions(Int32Array.of(7), NONE, IDS, 2)).toThrow(/more than the 0 pictures/);
    expect(() => mropePositions(Int32Array.of(1), square, IDS, 2)).toThrow(/for 1 pictures, found 0/);
    expect(() => mropePositions(Int32Array.of(8), { image: [], video: [[2, 2, 2]] }, IDS, 2)).toThrow(
      /for 2 time groups/,
    );
  });
});

describe('rotaryTable', () => {
  const rope = { rope_theta: 1e7, partial_rotary_factor: 0.25, mrope_interleaved: true };
  const released = {
    head_dim: 256,
    rope_parameters: { ...rope, mrope_section: [11, 11, 10] as [number, number, number] },
  };

  /** The axis each frequency follows, read off a table in which only that axis moves. */
  function axesOf(config: Parameters<typeof rotaryTable>[1]): string {
    const half = (config.head_dim * config.rope_parameters.partial_rotary_factor) / 2;
    const tables = [0, 1, 2].map((axis) =>
      rotaryTable(
        Int32Array.from([0, 1, 2], (a) => Number(a === axis)),
        config,
      ),
    );
    return Array.from({ length: half }, (_, j) => 'THW'[tables.findIndex((table) => table[2 * j + 1] !== 0)]).join('');
  }

  it('interleaves the axes as published', () => {
    expect(axesOf(released)).toBe(`${'THW'.repeat(10)}TH`);
    const tiny = { head_dim: 32, rope_parameters: { ...rope, mrope_section: [2, 1, 1] as [number, number, number] } };
    expect(axesOf(tiny)).toBe('THWT');
    const nano = { head_dim: 64, rope_parameters: { ...rope, mrope_section: [3, 3, 2] as [number, number, number] } };
    expect(axesOf(nano)).toBe('THWTHWTH');
  });

  it('takes contiguous sections when they are not interleaved', () => {
    const config = { ...released, rope_parameters: { ...released.rope_parameters, mrope_interleaved: false } };
    expect(axesOf(config)).toBe('T'.repeat(11) + 'H'.repeat(11) + 'W'.repeat(10));
  });

  it('holds cos and sin of position times frequency', () => {
    const T = 3;
    const table = rotaryTable(Int32Array.of(0, 1, 1000, 0, 1, 1000, 0, 1, 1000), released);
    expect(table.length).toBe(T * 32 * 2);
    expect(Array.from(table.slice(0, 64))).toEqual(Array.from({ length: 64 }, (_, i) => 1 - (i % 2)));
    for (const [token, position] of [1, 1000].entries()) {
      for (let j = 0; j < 32; j++) {
        const angle = position / 1e7 ** (j / 32);
        const at = ((token + 1) * 32 + j) * 2;
        // float32 angles: up to 1000 rad, of which half a unit in the last place is 3e-5, and as much from the frequency.
        const error = 1.5e-7 * Math.max(1, angle);
        expect(Math.abs(table[at]! - Math.cos(angle))).toBeLessThan(error);
        expect(Math.abs(table[at + 1]! - Math.sin(angle))).toBeLessThan(error);
      }
    }
  });
});

import { describe, expect, it } from 'vitest';
import { gatherRows, scatterRows } from '../../src/kernels/rows.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import * as reference from '../reference/rows.ts';
import { readValues } from '../tensors.ts';

describe('rows', () => {
  const device = useDevice();
  const random = new Random(7);

  const sizes: [number, number, number][] = [
    [1, 1, 1],
    [10, 4, 7],
    [50, 50, 64],
    [9, 3, 257],
  ];
  it.each(sizes)('gathers and scatters: [%i rows], %i of them, of %i', async (rows, count, dim) => {
    const x = random.normal(rows * dim);
    const updates = random.normal(count * dim);
    const order = Array.from({ length: rows }, (_, i) => i).sort(() => random.uniform() - 0.5);
    const index = Int32Array.from(order.slice(0, count));
    if (count > 2) index.set([-1, rows], 0);
    const i = device().upload(index, [count], 'i32');
    const u = device().upload(updates, [count, dim], 'f32');
    const y = gatherRows(device().upload(x, [rows, dim], 'f32'), i);
    expect(y.shape).toEqual([count, dim]);
    expect(maxAbsDifference(await readValues(y), reference.gatherRows(x, index, dim))).toBe(0);
    for (const add of [false, true]) {
      const target = device().upload(x, [rows, dim], 'f32');
      scatterRows(target, i, u, { add });
      expect(maxAbsDifference(await readValues(target), reference.scatterRows(x, index, updates, dim, add))).toBe(0);
    }
  });

  it('scatters with more workgroups than one dimension holds', async () => {
    const [rows, dim] = [65536, 257];
    const index = Int32Array.from({ length: rows }, (_, i) => rows - 1 - i);
    const updates = new Float32Array(rows * dim);
    const last = random.normal(dim + 3);
    updates.set(last, (rows - 1) * dim - 3);
    const target = device().tensor([rows, dim]);
    scatterRows(target, device().upload(index, [rows], 'i32'), device().upload(updates, [rows, dim], 'f32'));
    const head = device().tensor([2 * dim]);
    device().copy(target, 0, head, 0, 2 * dim);
    const expected = [...last.slice(3), ...new Float32Array(dim - 3), ...last.slice(0, 3)];
    expect(maxAbsDifference(await readValues(head), expected)).toBe(0);
  });

  it('refuses wrong operands', () => {
    const index = device().tensor([2], 'i32');
    expect(() => gatherRows(device().tensor([4]), index)).toThrow(
      'gatherRows: got [4] f32 and index [2] i32; expected [N, D] and [n]',
    );
    const target = device().tensor([4, 3]);
    expect(() => scatterRows(target, index, device().tensor([2, 4]))).toThrow('rows is [2,4] f32; expected [2,3]');
    expect(() => scatterRows(target, index, target.rows(0, 2))).toThrow('share a buffer');
  });
});

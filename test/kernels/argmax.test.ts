import { describe, expect, it } from 'vitest';
import { argmax } from '../../src/kernels/argmax.ts';
import { KernelError } from '../../src/tensor/errors.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { argmaxReference } from '../reference/argmax.ts';

const device = useDevice();

async function onGpu(values: Float32Array, rows: number, columns: number): Promise<number[]> {
  return [...(await device().readInt32(argmax(device().upload(values, [rows, columns], 'f32'))))];
}

describe('argmax', () => {
  it.each([
    [1, 1],
    [1, 8],
    [1, 255],
    [3, 257],
    [1, 4097],
    [2, 12289],
    [1, 248320],
    [5, 30001],
    [1030, 70],
    [70000, 3],
  ])('matches the loop for [%i, %i]', async (rows, columns) => {
    const values = new Random(rows + columns).normal(rows * columns);
    expect(await onGpu(values, rows, columns)).toEqual([...argmaxReference(values, rows, columns)]);
  });

  it('takes the lowest index among equals', async () => {
    const random = new Random(5);
    const values = Float32Array.from({ length: 40 * 9001 }, () => random.integer(-3, 3));
    expect(await onGpu(values, 40, 9001)).toEqual([...argmaxReference(values, 40, 9001)]);
  });

  it('orders zeros, infinities, subnormals and huge values; NaN never wins', async () => {
    const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
    const rows = [
      [-0, 0, -1, -2],
      [-1, 0, -0, -2],
      [nan, -inf, -3e38, -3.4e38],
      [nan, nan, nan, -inf],
      [nan, nan, nan, nan],
      [3.4e38, inf, nan, inf],
      [-1e-45, -1, -1e-44, nan],
      [-1e-45, 0, 1e-45, 1e-44],
      [-5, -5, -4, -4],
    ];
    const values = Float32Array.from(rows.flat());
    expect(await onGpu(values, rows.length, 4)).toEqual([...argmaxReference(values, rows.length, 4)]);
  });

  it('refuses other dtypes and empty rows', () => {
    expect(() => argmax(device().tensor([2, 4], 'i32'))).toThrow(KernelError);
    expect(() => argmax(device().tensor([2, 4]), device().tensor([1], 'i32'))).toThrow(/the result is \[1\] i32/);
    expect(() => argmax(device().tensor([2, 0], 'f32'))).toThrow('argmax: f32 [2,0]');
  });
});

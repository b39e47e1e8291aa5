import { describe, expect, it } from 'vitest';
import { add, addScaled, blend, convert, narrow, sigmoidGate, siluMul } from '../../src/kernels/elementwise.ts';
import { heads } from '../../src/kernels/heads.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { maxAbsDifference, relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import * as reference from '../reference/elementwise.ts';
import { headIndices } from '../reference/heads.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

describe('elementwise', () => {
  const device = useDevice();
  const random = new Random(9);
  const f32 = (values: Float32Array, ...shape: number[]): Tensor => device().upload(values, shape, 'f32');

  it.each([1, 255, 256, 257, 3001])('adds and blends %i values', async (count) => {
    const [a, b, s] = [random.normal(count), random.normal(count), random.normal(count, 3)];
    const [at, bt, st] = [f32(a, 1, count), f32(b, 1, count), f32(s, 1, count)];
    const sum = add(at, bt);
    expect(sum.shape).toEqual([1, count]);
    expect(
      maxAbsDifference(
        await readValues(sum),
        a.map((value, i) => value + b[i]!),
      ),
    ).toBe(0);
    const scaled = addScaled(at, bt, { scaleA: 0.3, scaleB: -2.5 });
    expect(maxAbsDifference(await readValues(scaled), reference.addScaled(a, b, 0.3, -2.5))).toBeLessThan(2e-6);
    expect(maxAbsDifference(await readValues(blend(st, at, bt)), reference.blend(s, a, b))).toBeLessThan(2e-6);
  });

  it('blends to one side where the sigmoid saturates', async () => {
    const y = blend(f32(Float32Array.of(-1000, 1000), 2), f32(Float32Array.of(1, 2), 2), f32(Float32Array.of(3, 4), 2));
    expect([...(await readValues(y))]).toEqual([3, 2]);
  });

  const gateUps: [number, number][] = [
    [1, 1],
    [3, 7],
    [5, 64],
    [2, 257],
    [4, 300],
    [1, 9216],
  ];
  it.each(gateUps)('multiplies [%i, 2 x %i] by silu', async (tokens, dim) => {
    const gateUp = random.normal(tokens * 2 * dim, 4);
    const x = f32(gateUp, tokens, 2 * dim);
    const expected = reference.siluMul(gateUp, dim);
    expect(relativeL2(await readValues(siluMul(x, 'f32')), expected)).toBeLessThan(1e-6);
    if (dim % 2 === 0) expect(relativeL2(await readValues(siluMul(x, 'f16')), expected)).toBeLessThan(1e-3);
    expect(
      relativeL2(
        await readValues(siluMul(x, 'f32', 0.25)),
        expected.map((value) => value / 4),
      ),
    ).toBeLessThan(1e-6);
  });

  it('keeps silu finite where exp overflows and saturates f16', async () => {
    const gateUp = f32(Float32Array.of(-1000, 1000, -90, 80, 70, 900, 70, 60), 1, 8);
    const full = await readValues(siluMul(gateUp, 'f32'));
    expect(full[0]).toBeCloseTo(0, 20);
    expect(full[1]).toBe(900000);
    expect(full[2]).toBeCloseTo(0, 20);
    expect([...(await readValues(siluMul(gateUp, 'f16')))]).toEqual(
      [-0, 65504, -0, 4800].map((v) => expect.closeTo(v, 3)),
    );
  });

  const gates: [number, number, number][] = [
    [1, 1, 1],
    [3, 16, 256],
    [7, 3, 12],
    [2, 2, 129],
  ];
  it.each(gates)('gates %i tokens, %i heads of %i', async (tokens, count, dim) => {
    const a = random.normal(tokens * count * dim);
    const view = { tokens, heads: count, dim, tokenStride: 2 * count * dim + 1, headStride: 2 * dim, offset: dim };
    const gate = random.normal(dim + tokens * view.tokenStride, 3);
    gate[dim] = -300;
    const expected = reference.sigmoidGate(
      a,
      headIndices(view).map((i) => gate[i]!),
    );
    const operands = [f32(a, tokens, count, dim), heads(f32(gate, gate.length), view)] as const;
    const y = sigmoidGate(...operands, 'f32');
    expect(y.shape).toEqual([tokens, count * dim]);
    expect(maxAbsDifference(await readValues(y), expected)).toBeLessThan(1e-6);
    if (dim % 2 === 0)
      expect(relativeL2(await readValues(sigmoidGate(...operands, 'f16')), expected)).toBeLessThan(1e-3);
  });

  const dtypes: FloatDtype[] = ['f32', 'f16', 'bf16'];
  it.each(dtypes)('converts %s', async (dtype) => {
    for (const shape of [[1], [3, 7], [5, 130], [1, 257]]) {
      const values = random.normal(
        shape.reduce((a, b) => a * b),
        100,
      );
      const x = uploadAs(device(), values, shape, dtype);
      const exact = quantise(values, dtype);
      expect(maxAbsDifference(await readValues(convert(x, 'f32')), exact)).toBe(0);
      if (shape.at(-1)! % 2 === 0) expect(relativeL2(await readValues(convert(x, 'f16')), exact)).toBeLessThan(1e-3);
    }
  });

  it('narrows to the nearest f16, and tells which tensors have values beyond it', async () => {
    const bits = (...words: number[]) => new Float32Array(Uint32Array.from(words).buffer);
    const largest = [65504, -65519.996, 65519.996];
    const ties = [1 + 2 ** -11, 1 + 3 * 2 ** -11, 2049, 2051, 2 ** -25, 3 * 2 ** -25, 2 ** -14 - 2 ** -25];
    const small = [2 ** -24, 2 ** -14, 2 ** -14 - 2 ** -24, 1.5 * 2 ** -25, 1.01 * 2 ** -25, 2 ** -26, 1e-40, -1e-9];
    const scattered = random.normal(4001).map((value, i) => value * 2 ** ((i % 50) - 35));
    const fitting = Float32Array.from([...largest, ...ties, ...small, 0, -0, ...scattered, 1]);
    const tensors = [
      fitting,
      Float32Array.of(1, 65520),
      Float32Array.of(2, 3),
      Float32Array.of(-1e20, 0),
      bits(0x7fc00000, 0),
      Float32Array.of(Number.NEGATIVE_INFINITY, 4),
    ];
    expect(fitting.length % 2).toBe(0);
    const unfit = device().upload(new Uint32Array(tensors.length), [tensors.length], 'u32');
    for (const [index, values] of tensors.entries()) {
      const y = device().tensor([values.length], 'f16');
      narrow(f32(values, values.length), y, unfit, index);
      if (index > 0) continue;
      const found = await readValues(y);
      expect([...found]).toEqual(Array.from(values, reference.nearestHalf));
      expect([...found]).toEqual([...quantise(values, 'f16')]);
    }
    expect([...(await device().readInt32(unfit))]).toEqual([0, 1, 0, 1, 1, 1]);
  });

  it('refuses wrong operands', () => {
    const unfit = device().tensor([1], 'u32');
    expect(() => narrow(device().tensor([4]), device().tensor([2], 'f16'), unfit, 0)).toThrow('narrow: x [4] f32');
    expect(() => narrow(device().tensor([4]), device().tensor([4], 'f16'), unfit, 1)).toThrow('element 1 of [1] u32');
    expect(() => add(device().tensor([2, 3]), device().tensor([3, 2]))).toThrow('b is [3,2] f32; expected [2,3]');
    expect(() => convert(device().tensor([2, 3]), 'f16')).toThrow(
      'convert: an f16 result needs an even last dimension; got 3',
    );
    expect(() => siluMul(device().tensor([2, 3]), 'f32')).toThrow('expected [T, 2F]');
  });
});

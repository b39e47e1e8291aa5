import { describe, expect, it } from 'vitest';
import { denseOutput } from '../../src/kernels/dense_output.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { denseOutputReference } from '../reference/dense_output.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

describe('denseOutput', () => {
  const device = useDevice();
  const random = new Random(25);

  const cases: [number[], number, 'exp' | 'inv_log', FloatDtype][] = [
    [[2, 9, 15, 32], 2, 'exp', 'f32'],
    [[1, 16, 16, 32], 4, 'inv_log', 'bf16'],
    [[1, 1, 1, 8], 2, 'exp', 'f16'],
    [[1, 3, 257, 12], 4, 'inv_log', 'f32'],
  ];
  it.each(cases)('equals the formula: x [%s] to %s outputs, %s, %s', async (shape, outputs, activation, dtype) => {
    const channels = shape.at(-1)!;
    const x = random.normal(shape.reduce((a, b) => a * b));
    const w = random.normal(outputs * channels, 0.2);
    const b = random.normal(outputs);
    const weight = uploadAs(device(), w, [outputs, channels, 1, 1], dtype);
    const [value, confidence] = denseOutput(
      device().upload(x, shape, 'f32'),
      weight,
      device().upload(b, [outputs], 'f32'),
      activation,
    );
    expect(value.shape).toEqual([...shape.slice(0, 3), outputs - 1]);
    expect(confidence.shape).toEqual(shape.slice(0, 3));
    const expected = denseOutputReference(x, quantise(w, dtype), b, activation);
    const isConfidence = (_: number, i: number) => i % outputs === outputs - 1;
    expect(relativeL2(await readValues(confidence), expected.filter(isConfidence))).toBeLessThan(1e-6);
    expect(
      relativeL2(
        await readValues(value),
        expected.filter((z, i) => !isConfidence(z, i)),
      ),
    ).toBeLessThan(1e-6);
  });

  it('writes into tensors that are given, from a pixel on', async () => {
    const [pixels, first] = [7, 5];
    const [x, w, b] = [random.normal(pixels * 8), random.normal(3 * 8, 0.2), random.normal(3)];
    const target = {
      value: device().upload(new Float32Array(2 * 13).fill(-1), [13, 2], 'f32'),
      confidence: device().upload(new Float32Array(13).fill(-1), [13], 'f32'),
      first,
    };
    const operands = [
      device().upload(x, [1, 1, pixels, 8], 'f32'),
      device().upload(w, [3, 8, 1, 1], 'f32'),
      device().upload(b, [3], 'f32'),
    ] as const;
    denseOutput(...operands, 'exp', target);
    const expected = new Float64Array(3 * 13).fill(-1);
    expected.set(denseOutputReference(x, w, b, 'exp'), 3 * first);
    const isConfidence = (_: number, i: number) => i % 3 === 2;
    expect(relativeL2(await readValues(target.confidence), expected.filter(isConfidence))).toBeLessThan(1e-6);
    const values = expected.filter((z, i) => !isConfidence(z, i));
    expect(relativeL2(await readValues(target.value), values)).toBeLessThan(1e-6);
    expect(() => denseOutput(...operands, 'exp', { ...target, first: 7 })).toThrow('do not fit into value');
  });

  it('is exact to the last digits for small values of inv_log, and stays finite for large ones', async () => {
    const z = Float32Array.of(1e-6, 0, 0, 0, -0.05, 0, 0, 0, 0.11, 0, 0, 0, 500, 0, 0, 0, -500, 0, 0, 0);
    const w = device().upload(Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0), [2, 4, 1, 1], 'f32');
    const [value] = denseOutput(
      device().upload(z, [1, 1, 5, 4], 'f32'),
      w,
      device().upload(new Float32Array(2), [2], 'f32'),
      'inv_log',
    );
    const found = await readValues(value);
    for (const [i, expected] of [
      Math.fround(1e-6),
      -Math.expm1(Math.fround(0.05)),
      Math.expm1(Math.fround(0.11)),
    ].entries()) {
      expect(Math.abs(found[i]! / expected - 1)).toBeLessThan(2e-6);
    }
    expect(found[3]).toBeGreaterThan(1e38);
    expect(found[4]).toBeLessThan(-1e38);
    expect(found.every(Number.isFinite)).toBe(true);
  });

  it('refuses operands that do not fit', () => {
    const bias = device().tensor([2]);
    expect(() => denseOutput(device().tensor([1, 2, 2, 8]), device().tensor([2, 4, 1, 1]), bias, 'exp')).toThrow(
      'does not fit weight',
    );
    expect(() => denseOutput(device().tensor([1, 2, 2, 8]), device().tensor([4, 8, 1, 1]), bias, 'exp')).toThrow(
      'bias is [2] f32; expected [4]',
    );
  });
});

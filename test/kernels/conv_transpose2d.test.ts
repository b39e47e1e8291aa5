import { describe, expect, it } from 'vitest';
import { blocksFirst, convTranspose2d } from '../../src/kernels/conv_transpose2d.ts';
import { permute } from '../../src/kernels/permute.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { convTranspose2dReference } from '../reference/conv_transpose2d.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

describe('convTranspose2d', () => {
  const device = useDevice();
  const random = new Random(23);

  const cases: [readonly [number, number, number, number], number, number, FloatDtype][] = [
    [[2, 3, 5, 16], 16, 4, 'f32'],
    [[1, 5, 4, 24], 8, 2, 'bf16'],
    [[3, 1, 1, 12], 12, 4, 'f16'],
    [[1, 7, 6, 8], 20, 2, 'f32'],
  ];
  it.each(cases)('equals the formula: x [%s] to %s channels, kernel %s, %s', async (shape, outputs, k, dtype) => {
    const channels = shape[3];
    const x = random.normal(shape.reduce((a, b) => a * b));
    const w = random.normal(channels * outputs * k * k, 0.2);
    const b = random.normal(outputs);
    const stored = uploadAs(device(), w, [channels, outputs, k, k], dtype);
    const weight = permute(stored, blocksFirst(stored.shape));
    const bias = device().upload(b, [outputs], 'f32');
    const y = convTranspose2d(device().upload(x, shape, 'f32'), weight, bias);
    expect(y.shape).toEqual([shape[0], k * shape[1], k * shape[2], outputs]);
    const expected = convTranspose2dReference(x, quantise(w, dtype), b, shape, k);
    expect(relativeL2(await readValues(y), expected)).toBeLessThan(1e-6);
    const halves = permute(stored, blocksFirst(stored.shape), 'f16');
    const rounded = convTranspose2d(device().upload(x, shape, 'f32'), halves, bias);
    expect(relativeL2(await readValues(rounded), expected)).toBeLessThan(1e-3);
  });

  it('refuses operands that do not fit', () => {
    const bias = device().tensor([4]);
    expect(() => convTranspose2d(device().tensor([1, 2, 2, 8]), device().tensor([2, 2, 8, 4]), bias)).toThrow(
      'does not fit weight',
    );
    expect(() => convTranspose2d(device().tensor([1, 2, 2, 8]), device().tensor([2, 2, 6, 8]), bias)).toThrow(
      'bias is [4] f32; expected [6]',
    );
  });
});

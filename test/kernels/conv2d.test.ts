import { describe, expect, it } from 'vitest';
import {
  CONV2D_VARIANTS,
  type Conv2dOptions,
  conv2d,
  conv2dOperand,
  conv2dSupports,
  tapsFirst,
} from '../../src/kernels/conv2d.ts';
import { permute } from '../../src/kernels/permute.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { type ConvolutionSizes, conv2dReference } from '../reference/conv2d.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

const relu = (x: number) => Math.max(x, 0);
const around = (n: number) => ({ top: n, bottom: n, left: n, right: n });

describe('conv2d', () => {
  const device = useDevice();
  const random = new Random(21);

  const cases: [string, ConvolutionSizes, FloatDtype][] = [
    ['3x3', { x: [2, 9, 7, 16], outputs: 16, kernel: 3, stride: 1, padding: around(1) }, 'f32'],
    ['3x3, stride 2, odd sides', { x: [2, 9, 7, 24], outputs: 24, kernel: 3, stride: 2, padding: around(1) }, 'f16'],
    ['3x3, stride 2, even sides', { x: [1, 8, 10, 8], outputs: 68, kernel: 3, stride: 2, padding: around(1) }, 'bf16'],
    ['one pixel', { x: [1, 1, 1, 8], outputs: 4, kernel: 3, stride: 1, padding: around(1) }, 'f32'],
    [
      'more pixels and channels than a tile',
      { x: [1, 13, 11, 40], outputs: 132, kernel: 3, stride: 1, padding: around(1) },
      'f32',
    ],
    [
      '8 channels more than a tile',
      { x: [1, 6, 5, 72], outputs: 136, kernel: 3, stride: 1, padding: around(1) },
      'f32',
    ],
    [
      'pixels for many large tiles',
      { x: [1, 132, 130, 8], outputs: 36, kernel: 3, stride: 1, padding: around(1) },
      'f32',
    ],
    [
      'pixels for some large tiles',
      { x: [1, 66, 132, 16], outputs: 36, kernel: 3, stride: 1, padding: around(1) },
      'bf16',
    ],
    [
      'a band of rows',
      { x: [1, 5, 6, 8], outputs: 32, kernel: 3, stride: 1, padding: { top: 0, bottom: 1, left: 1, right: 1 } },
      'f32',
    ],
    ['1x1', { x: [3, 4, 5, 12], outputs: 8, kernel: 1, stride: 1, padding: around(0) }, 'bf16'],
  ];

  describe.each(CONV2D_VARIANTS)('%s', (variant) => {
    const tolerance = variant === 'register' ? 1e-6 : 2e-3;

    it.each(cases)('equals the formula: %s', async (_, sizes, dtype) => {
      const channels = sizes.x[3];
      if (!conv2dSupports(device(), variant, { channels, outputs: sizes.outputs })) return;
      const x = random.normal(sizes.x.reduce((a, b) => a * b));
      const shape = [sizes.outputs, channels, sizes.kernel, sizes.kernel];
      const w = random.normal(
        shape.reduce((a, b) => a * b),
        0.1,
      );
      const b = random.normal(sizes.outputs);
      const [xTensor, weight, bias] = [
        device().upload(x, sizes.x, 'f32'),
        permute(uploadAs(device(), w, shape, dtype), tapsFirst(shape), conv2dOperand(variant)),
        device().upload(b, [sizes.outputs], 'f32'),
      ];
      const { padding, stride } = sizes;
      const options: Conv2dOptions = { padding, stride: stride as 1 | 2, variant };
      const exact = quantise(w, dtype);

      const plain = conv2dReference(x, exact, b, sizes);
      expect(relativeL2(await readValues(conv2d(xTensor, weight, { ...options, bias })), plain)).toBeLessThan(
        tolerance,
      );

      const [r, a] = [random.normal(plain.length), random.normal(plain.length)];
      const whole = conv2d(xTensor, weight, { ...options, inputRelu: true, relu: true });
      const expected = conv2dReference(x.map(relu), exact, undefined, sizes).map(relu);
      expect(relativeL2(await readValues(whole), expected)).toBeLessThan(tolerance);
      const residual = device().upload(r, whole.shape, 'f32');
      const addend = device().upload(a, whole.shape, 'f32');
      const skipped = await readValues(
        conv2d(xTensor, weight, { ...options, bias, residual, residualRelu: true, addend }),
      );
      expect(
        relativeL2(
          skipped,
          plain.map((value, i) => value + relu(r[i]!) + a[i]!),
        ),
      ).toBeLessThan(tolerance);
      const shifted = await readValues(conv2d(xTensor, weight, { ...options, residual: addend }));
      expect(
        relativeL2(
          shifted,
          conv2dReference(x, exact, undefined, sizes).map((value, i) => value + a[i]!),
        ),
      ).toBeLessThan(tolerance);

      if (conv2dSupports(device(), variant, { channels, outputs: sizes.outputs, dtype: 'f16' })) {
        const halves = conv2d(uploadAs(device(), x, sizes.x, 'f16'), weight, { ...options, bias, dtype: 'f16' });
        expect(relativeL2(await readValues(halves), plain)).toBeLessThan(tolerance);
      }
    });
  });

  it('does not hide what is not a number', async () => {
    const x = device().upload(Float32Array.of(NaN, 1, 1, 1, 1, 1, 1, 1), [1, 2, 1, 4], 'f32');
    const weight = device().upload(new Float32Array(16).fill(1), [4, 1, 1, 4], 'f32');
    expect([...(await readValues(conv2d(x, weight)))]).toEqual([NaN, NaN, NaN, NaN, 4, 4, 4, 4]);
  });

  it('refuses operands that do not fit', () => {
    const x = device().tensor([1, 4, 4, 8]);
    expect(() => conv2d(x, device().tensor([8, 3, 3, 4]))).toThrow(
      'conv2d: x [1,4,4,8] f32 does not fit weight [8,3,3,4] f32',
    );
    expect(() => conv2d(x, device().tensor([8, 5, 5, 8]))).toThrow('would give [1,0,0,8]');
    expect(() => conv2d(x, device().tensor([6, 3, 3, 8]))).toThrow('would give [1,2,2,6]');
    expect(() => conv2d(x, device().tensor([8, 3, 3, 8]), { bias: device().tensor([4]) })).toThrow(
      'conv2d: bias is [4] f32; expected [8]',
    );
    expect(() => conv2d(x, device().tensor([8, 3, 3, 8]), { residual: x })).toThrow(
      'conv2d: residual is [1,4,4,8] f32; expected [1,2,2,8]',
    );
    expect(() => conv2d(x, device().tensor([8, 3, 3, 8], 'f16'))).toThrow('weight is [8,3,3,8] f16; expected f32');
    expect(() => conv2d(device().tensor([1, 4, 4, 8], 'f16'), device().tensor([8, 3, 3, 8]))).toThrow('expected f32');
  });
});

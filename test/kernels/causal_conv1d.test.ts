import { describe, expect, it } from 'vitest';
import { causalConv1d, convolvedLinear } from '../../src/kernels/causal_conv1d.ts';
import { KernelError } from '../../src/tensor/errors.ts';
import type { Feature } from '../../src/tensor/gpu.ts';
import { maxAbsDifference, relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { causalConv1dReference } from '../reference/causal_conv1d.ts';
import { linearReference } from '../reference/matmul.ts';
import { rmsNorm } from '../reference/rms_norm.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

const device = useDevice();

/** Runs both on the same random data; the columns of the view are cut from wider rows. */
async function compare(
  tokens: number,
  channels: number,
  kernelSize: number,
  extra = { before: 0, after: 0 },
  scale = 1,
  dtype: 'f32' | 'f16' = 'f32',
) {
  const random = new Random(tokens * 1000 + channels * 10 + kernelSize);
  const stride = extra.before + channels + extra.after;
  const wide = random.normal(tokens * stride, scale);
  const weight = random.normal(channels * kernelSize, 0.5);
  const state = random.normal(channels * (kernelSize - 1), scale);
  const u = new Float32Array(tokens * channels);
  for (let t = 0; t < tokens; t++) {
    for (let c = 0; c < channels; c++) u[t * channels + c] = wide[t * stride + extra.before + c]!;
  }
  const expected = causalConv1dReference(u, weight, state, { tokens, channels, kernelSize });

  const gpuState = device().upload(state, [channels, kernelSize - 1], 'f32', true);
  const y = await readValues(
    causalConv1d(
      device().upload(wide, [tokens, stride], 'f32'),
      { channels, stride, offset: extra.before },
      device().upload(weight, [channels, kernelSize], 'f32'),
      gpuState,
      dtype,
    ),
  );
  const nextState = await device().readFloat32(gpuState);
  return { y: maxAbsDifference(y, expected.y), state: maxAbsDifference(nextState, expected.state) };
}

describe('causalConv1d', () => {
  it.each([
    [1, 1, 4],
    [1, 63, 4],
    [1, 257, 4],
    [1, 70, 2],
    [1, 70, 8],
    [1, 5, 1],
    [2, 64, 4],
    [3, 65, 4],
    [4, 96, 4],
    [7, 130, 4],
    [8, 33, 4],
    [9, 33, 4],
    [65, 40, 4],
    [129, 7, 3],
    [5, 12, 8],
    [2, 12, 8],
    [6, 12, 1],
    [6, 12, 2],
  ])('matches the formula for T=%i, C=%i, K=%i', async (tokens, channels, kernelSize) => {
    const difference = await compare(tokens, channels, kernelSize);
    expect(difference.y).toBeLessThan(2e-6);
    expect(difference.state).toBe(0);
  });

  it.each([1, 2, 19])('reads the columns of a wider matrix, T=%i', async (tokens) => {
    const difference = await compare(tokens, 50, 4, { before: 13, after: 22 });
    expect(difference.y).toBeLessThan(2e-6);
    expect(difference.state).toBe(0);
  });

  it.each([
    [1, 64, 4],
    [9, 34, 4],
    [65, 130, 3],
  ])('leaves f16 for T=%i, C=%i, K=%i', async (tokens, channels, kernelSize) => {
    const difference = await compare(tokens, channels, kernelSize, { before: 3, after: 2 }, 1, 'f16');
    expect(difference.y).toBeLessThan(2 ** -9); // half a step of what lies between 4 and 8, the largest being some 6
    expect(difference.y).toBeGreaterThan(1e-5);
    expect(difference.state).toBe(0);
    await expect(compare(2, 33, 4, { before: 0, after: 0 }, 1, 'f16')).rejects.toThrow(/even last dimension/);
  });

  it('saturates for large inputs', async () => {
    const difference = await compare(9, 64, 4, { before: 0, after: 0 }, 1e4);
    expect(difference.y).toBeLessThan(1e4 * 1e-6);
  });

  it('gives the same in one call, in pieces and token by token', async () => {
    const [tokens, channels, kernelSize] = [11, 20, 4];
    const random = new Random(3);
    const view = { channels, stride: channels, offset: 0 };
    const input = random.normal(tokens * channels);
    const weight = device().upload(random.normal(channels * kernelSize), [channels, kernelSize], 'f32');
    const results: Float32Array[] = [];
    for (const pieces of [[11], [1, 2, 8], [4, 4, 3], Array<number>(11).fill(1)]) {
      const state = device().clear(device().persistent([channels, kernelSize - 1], 'f32'));
      const outputs: number[] = [];
      let start = 0;
      for (const count of pieces) {
        const part = input.subarray(start * channels, (start + count) * channels);
        const y = causalConv1d(device().upload(part, [count, channels], 'f32'), view, weight, state);
        outputs.push(...(await device().readFloat32(y)));
        start += count;
      }
      outputs.push(...(await device().readFloat32(state)));
      results.push(Float32Array.from(outputs));
    }
    for (const result of results.slice(1)) expect(maxAbsDifference(result, results[0]!)).toBeLessThan(1e-6);
  });

  it('refuses shapes that do not fit', () => {
    const tensor = (...shape: number[]) => device().tensor(shape, 'f32');
    const view = { channels: 8, stride: 10, offset: 2 };
    expect(() => causalConv1d(tensor(3, 10), { ...view, offset: 3 }, tensor(8, 4), tensor(8, 3))).toThrow(KernelError);
    expect(() => causalConv1d(tensor(3, 10), view, tensor(8, 4), tensor(8, 4))).toThrow(/causal_conv1d: columns 2..10/);
    expect(() => causalConv1d(tensor(3, 10), view, tensor(8, 9), tensor(8, 8))).toThrow(KernelError);
  });
});

it('convolvedLinear leaves f16, of one token too', async () => {
  const [k, n, channels] = [24, 40, 16];
  const random = new Random(5);
  const tensor = (...shape: number[]) => uploadAs(device(), random.normal(shape.reduce((a, b) => a * b)), shape);
  const [projection, weight, norm] = [tensor(n, k), tensor(channels, 4), tensor(k)];
  for (const tokens of [1, 3]) {
    const x = tensor(tokens, k);
    const results: Float32Array[] = [];
    for (const dtype of ['f32', 'f16'] as const) {
      const state = device().clear(device().tensor([channels, 3]));
      const input = { weight: norm, eps: 1e-6, weightOffset: 1, dtype: 'f32' } as const;
      const { y } = convolvedLinear(x, projection, input, { weight, state, dtype });
      expect([y.dtype, y.shape]).toEqual([dtype, [tokens, channels]]);
      results.push(await readValues(y));
    }
    expect(relativeL2(results[1]!, results[0]!)).toBeLessThan(5e-4);
  }
});

describe.each([undefined, ['subgroups', 'immediates']] as const)('convolvedLinear, without %s', (disable) => {
  const own = useDevice(disable as readonly Feature[] | undefined);

  it.each([
    [40, 24, 24, 4, 'bf16'],
    [264, 71, 37, 4, 'bf16'],
    [72, 50, 3, 2, 'f32'],
    [64, 40, 31, 8, 'f16'],
    [40, 24, 16, 1, 'f16'],
    [12, 24, 16, 4, 'f32'],
  ] as [number, number, number, number, FloatDtype][])(
    'carries its state over several tokens and single ones: K=%i, N=%i, C=%i, %i taps, %s',
    async (k, n, channels, taps, dtype) => {
      const random = new Random(k + n);
      const w = quantise(random.normal(n * k), dtype);
      const [weight, norm] = [random.normal(channels * taps), random.normal(k)];
      let history = random.normal(channels * (taps - 1));
      const state = uploadAs(own(), history, [channels, taps - 1]);
      const [wt, wc, wn] = [
        uploadAs(own(), w, [n, k], dtype),
        uploadAs(own(), weight, [channels, taps]),
        uploadAs(own(), norm, [k]),
      ];
      for (const tokens of [1, 1, 3, 1, 1]) {
        const x = random.normal(tokens * k, 3);
        const normed = Float32Array.from(rmsNorm(x, norm, 1e-6, 1));
        const product = linearReference(normed, w, [tokens, n, k]);
        const columns = Float32Array.from(product.filter((_, i) => i % n < channels));
        const expected = causalConv1dReference(columns, weight, history, { tokens, channels, kernelSize: taps });
        history = Float32Array.from(expected.state);
        const { projected, y } = convolvedLinear(
          uploadAs(own(), x, [tokens, k]),
          wt,
          { weight: wn, eps: 1e-6, weightOffset: 1, dtype: 'f32' },
          { weight: wc, state },
        );
        expect(y.shape).toEqual([tokens, channels]);
        expect(relativeL2(await readValues(y), expected.y)).toBeLessThan(3e-6);
        const rest = (values: ArrayLike<number>) => Array.from(values).filter((_, i) => i % n >= channels);
        if (channels < n) {
          expect(relativeL2(rest(await readValues(projected)), rest(product))).toBeLessThan(2e-6);
        }
        if (taps > 1) expect(relativeL2(await readValues(state), history)).toBeLessThan(2e-6);
      }
    },
  );
});

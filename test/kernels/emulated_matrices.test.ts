import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { attention } from '../../src/kernels/attention.ts';
import { toBlocks } from '../../src/kernels/blocks.ts';
import { conv2d, tapsFirst } from '../../src/kernels/conv2d.ts';
import { heads } from '../../src/kernels/heads.ts';
import { linear } from '../../src/kernels/matmul.ts';
import { permute } from '../../src/kernels/permute.ts';
import { swiglu } from '../../src/kernels/swiglu.ts';
import type { Device } from '../../src/tensor/device.ts';
import type { Tile } from '../../src/tensor/tiles.ts';
import { relativeL2 } from '../compare.ts';
import { cut } from '../cut_products.ts';
import { openWithEmulatedMatrices } from '../emulated_matrices.ts';
import { Random } from '../random.ts';
import { attentionReference } from '../reference/attention.ts';
import { type ConvolutionSizes, conv2dReference } from '../reference/conv2d.ts';
import { siluMul } from '../reference/elementwise.ts';
import { linearReference } from '../reference/matmul.ts';
import { rmsNorm } from '../reference/rms_norm.ts';
import { quantise, readBlocks, readValues, uploadAs } from '../tensors.ts';

vi.mock('../../src/kernels/matmul_tiles.ts', async (original) =>
  (await import('../cut_products.ts')).withCuts(await original()),
);

let device: Device;
beforeAll(async () => {
  device = await openWithEmulatedMatrices();
});
afterAll(() => device.destroy());
afterEach(() => {
  cut.columns = 0;
});

describe('attention on emulated matrices', () => {
  it.each([
    [{ KEYS: 16, SUBGROUPS: 2 }, [40, 69, 2, 1, 16], 2, false, ['f32', 'f16_blocks']],
    [{ PAIRS: 2 }, [70, 70, 2, 1, 24], 1, true, ['f32']],
  ] as const)('%o: %o', async (tile, [queries, keys, count, kvHeads, dim], segments, causal, dtypes) => {
    device.tuning.set('attention/flash_matrix', tile as Tile);
    const random = new Random(queries + keys);
    const make = (tokens: number, count: number) => quantise(random.normal(segments * tokens * count * dim), 'f16');
    const [q, k, v] = [make(queries, count), make(keys, kvHeads), make(keys, kvHeads)];
    // Steep enough for maxima to move again and again.
    const scale = 12 / Math.sqrt(dim);
    const expected = attentionReference({ q, k, v, heads: count, kvHeads, dim, segments, scale, causal });
    const view = (values: Float32Array, count: number) =>
      heads(uploadAs(device, values, [values.length], 'f16'), {
        tokens: values.length / (count * dim),
        heads: count,
        dim,
        tokenStride: count * dim,
      });
    for (const dtype of dtypes) {
      const run = vi.spyOn(device, 'run');
      const out = attention(view(q, count), view(k, kvHeads), view(v, kvHeads), {
        scale,
        causal,
        segments,
        variant: 'flash_matrix',
        dtype,
      });
      expect(run.mock.calls[0]![0].constants).toMatchObject(tile);
      run.mockRestore();
      const found = dtype === 'f32' ? await readValues(out) : await readBlocks(out);
      expect(relativeL2(found, expected)).toBeLessThan(1e-3);
    }
  });
});

describe('products on emulated matrices', () => {
  it.each([
    [37, 72, 96, 'f16_blocks', 'gelu_erf', 0],
    [20, 136, 64, 'f32', undefined, 0],
    [20, 40, 2080, 'f16_blocks', undefined, 0], // K is shared
    [40, 72, 96, 'f16_blocks', 'gelu_erf', 64],
    [16, 8, 32, 'f32', undefined, 0],
  ] as const)(
    'of operands in blocks: %d x %d x %d to %s, %s, cut at %d',
    async (m, n, k, dtype, activation, columns) => {
      cut.columns = columns;
      device.tuning.set('matmul/blocked_matrix small', {
        ROWS: 1,
        COLUMNS: 2,
        GRID_ROWS: 2,
        GRID_COLUMNS: 1,
        STEP: 32,
      });
      const random = new Random(n + k);
      const [x, w] = [quantise(random.normal(m * k), 'f16'), quantise(random.normal(n * k), 'f16')];
      const [bias, gamma, residual] = [random.normal(n), random.normal(n), random.normal(m * n)];
      const blocks = (values: Float32Array, rows: number) => toBlocks(uploadAs(device, values, [rows, k], 'f16'));
      const run = vi.spyOn(device, 'run');
      const out = linear(blocks(x, m), blocks(w, n), {
        dtype,
        bias: uploadAs(device, bias, [n], 'f32'),
        gamma: uploadAs(device, gamma, [n], 'f32'),
        residual: uploadAs(device, residual, [m, n], 'f32'),
        ...(activation && { activation }),
      });
      const pieces = run.mock.calls.filter(([{ kernel }]) => kernel === 'matmul/blocked_matrix');
      expect(pieces).toHaveLength(columns === 0 ? 1 : 2);
      run.mockRestore();
      const options = { bias, gamma, residual, ...(activation && { activation }) };
      const expected = linearReference(x, w, [m, n, k], options);
      const found = dtype === 'f16_blocks' ? await readBlocks(out) : await readValues(out);
      expect(out.shape).toEqual([m, n]);
      expect(relativeL2(found, expected)).toBeLessThan(dtype === 'f32' ? 2e-6 : 1e-3);
    },
  );

  it('of a weight in rows that is brought into blocks first, x with it or not', async () => {
    const [m, n, k] = [18, 24, 64];
    const random = new Random(4);
    const [x, w] = [quantise(random.normal(m * k), 'f16'), quantise(random.normal(n * k), 'bf16')];
    const weight = uploadAs(device, w, [n, 2, k / 2], 'bf16');
    const rows = uploadAs(device, x, [2, m / 2, k], 'f16');
    const expected = linearReference(x, w, [m, n, k]);
    for (const [operand, options, shape] of [
      [toBlocks(rows), {}, [m, n]],
      [rows, { variant: 'blocked_matrix' }, [2, m / 2, n]],
    ] as const) {
      const out = linear(operand, weight, options);
      expect(out.shape).toEqual(shape);
      expect(relativeL2(await readValues(out), expected)).toBeLessThan(2e-6);
    }
  });

  it('of an x that is brought into blocks first', async () => {
    const random = new Random(3);
    const [x, w] = [quantise(random.normal(2 * 9 * 64), 'f16'), quantise(random.normal(24 * 64), 'f16')];
    const weight = toBlocks(uploadAs(device, w, [24, 64], 'f16'));
    const out = linear(uploadAs(device, x, [2, 9, 64], 'f16'), weight);
    expect(out.shape).toEqual([2, 9, 24]);
    expect(relativeL2(await readValues(out), linearReference(x, w, [18, 24, 64]))).toBeLessThan(2e-6);
  });

  it.each([[20, 72, 2056]])('%d x %d x %d', async (m, n, k) => {
    device.tuning.set('matmul/subgroup_matrix small', { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 });
    const random = new Random(k);
    const [x, w] = [quantise(random.normal(m * k), 'f16'), quantise(random.normal(n * k), 'bf16')];
    const [bias, residual] = [random.normal(n), random.normal(m * n)];
    const out = linear(uploadAs(device, x, [m, k], 'f16'), uploadAs(device, w, [n, k], 'bf16'), {
      variant: 'subgroup_matrix',
      bias: uploadAs(device, bias, [n], 'f32'),
      residual: uploadAs(device, residual, [m, n], 'f32'),
    });
    expect(relativeL2(await readValues(out), linearReference(x, w, [m, n, k], { bias, residual }))).toBeLessThan(2e-6);
  });

  it.each([
    [20, 80, 40, 'f16', undefined],
    [20, 80, 40, 'f16_blocks', undefined],
    [37, 144, 64, 'f16_blocks', 'blocked_matrix'],
  ] as const)('SwiGLU as part of it: %d x %d x %d to %s, %s', async (m, n, k, dtype, variant) => {
    device.tuning.set('matmul/subgroup_matrix small', { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 });
    device.tuning.set('matmul/blocked_matrix small', { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 1, STEP: 32 });
    const random = new Random(n);
    const [x, w] = [random.normal(m * k, 30), quantise(random.normal(n * k), 'bf16')];
    const weight = random.normal(k);
    const normed = quantise(Float32Array.from(rmsNorm(x, weight, 1e-6, 0)), 'f16');
    const product = linearReference(normed, w, [m, n, k]);
    const expected = siluMul(product, n / 2).map((value) => value / 16);
    const norm = { weight: uploadAs(device, weight, [k], 'f32'), eps: 1e-6, weightOffset: 0, dtype: 'f16' } as const;
    const operands = [uploadAs(device, x, [m, k], 'f32'), uploadAs(device, w, [n, k], 'bf16')] as const;
    const run = vi.spyOn(device, 'run');
    const out = swiglu(...operands, { norm, dtype, scale: 1 / 16, ...(variant && { variant }) });
    expect(run.mock.calls.map(([{ kernel }]) => kernel)).toContain(`matmul/${variant ?? 'subgroup_matrix'}`);
    run.mockRestore();
    expect(out.dtype).toBe(dtype);
    const found = dtype === 'f16_blocks' ? await readBlocks(out) : await readValues(out);
    expect(relativeL2(found, expected)).toBeLessThan(1e-3);
  });
});

describe('convolutions on emulated matrices', () => {
  it('3x3, stride 2, with everything beside the sum', async () => {
    const tile = { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 1, STEP: 32 };
    device.tuning.set('conv2d/subgroup_matrix narrow', tile);
    const random = new Random(3);
    const padding = { top: 1, bottom: 1, left: 1, right: 1 };
    const sizes: ConvolutionSizes = { x: [2, 9, 7, 40], outputs: 24, kernel: 3, stride: 2, padding };
    const shape = [2, 5, 4, 24];
    const [x, w, b] = [random.normal(2 * 9 * 7 * 40), random.normal(24 * 40 * 9, 0.1), random.normal(24)];
    const [residual, addend] = [random.normal(2 * 5 * 4 * 24), random.normal(2 * 5 * 4 * 24)];
    const relu = (value: number) => Math.max(value, 0);
    const expected = conv2dReference(quantise(x, 'f16').map(relu), quantise(w, 'f16'), b, sizes).map(
      (value, i) => relu(value) + relu(residual[i]!) + addend[i]!,
    );
    const run = vi.spyOn(device, 'run');
    const weight = permute(uploadAs(device, w, [24, 40, 3, 3], 'f32'), tapsFirst([24, 40, 3, 3]), 'f16');
    const out = conv2d(uploadAs(device, x, sizes.x, 'f32'), weight, {
      bias: uploadAs(device, b, [24], 'f32'),
      stride: 2,
      padding,
      inputRelu: true,
      relu: true,
      residual: uploadAs(device, residual, shape, 'f32'),
      residualRelu: true,
      addend: uploadAs(device, addend, shape, 'f32'),
      variant: 'subgroup_matrix',
    });
    expect(run.mock.calls.at(-1)![0].constants).toMatchObject(tile);
    run.mockRestore();
    expect(relativeL2(await readValues(out), expected)).toBeLessThan(1e-6);
  });
});

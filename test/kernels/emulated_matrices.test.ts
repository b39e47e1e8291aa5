import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { attention } from '../../src/kernels/attention.ts';
import { heads } from '../../src/kernels/heads.ts';
import { linear, swiglu } from '../../src/kernels/matmul.ts';
import type { Device, Tile } from '../../src/tensor/device.ts';
import { relativeL2 } from '../compare.ts';
import { openWithEmulatedMatrices } from '../emulated_matrices.ts';
import { Random } from '../random.ts';
import { attentionReference } from '../reference/attention.ts';
import { activations, linearReference } from '../reference/matmul.ts';
import { rmsNorm } from '../reference/rms_norm.ts';
import { quantise, readValues, uploadAs } from '../tensors.ts';

let device: Device;
beforeAll(async () => {
  device = await openWithEmulatedMatrices();
});
afterAll(() => device.destroy());

describe('attention on emulated matrices', () => {
  it.each([
    [{ KEYS: 16, SUBGROUPS: 2 }, [40, 69, 2, 1, 16], 2, false],
    [{ KEYS: 16, MATRICES: 1, SUBGROUPS: 4, TILES: 2, SCORE_STRIDE: 24 }, [70, 70, 2, 1, 16], 1, true],
  ] as const)('%o: %o', async (tile, [queries, keys, count, kvHeads, dim], segments, causal) => {
    device.tuning.set('attention/flash_matrix', tile as Tile);
    const random = new Random(queries + keys);
    const make = (tokens: number, count: number) => quantise(random.normal(segments * tokens * count * dim), 'f16');
    const [q, k, v] = [make(queries, count), make(keys, kvHeads), make(keys, kvHeads)];
    const scale = 1.5 / Math.sqrt(dim);
    const expected = attentionReference({ q, k, v, heads: count, kvHeads, dim, segments, scale, causal });
    const view = (values: Float32Array, count: number) =>
      heads(uploadAs(device, values, [values.length], 'f16'), {
        tokens: values.length / (count * dim),
        heads: count,
        dim,
        tokenStride: count * dim,
      });
    const out = attention(view(q, count), view(k, kvHeads), view(v, kvHeads), {
      scale,
      causal,
      segments,
      variant: 'flash_matrix',
    });
    expect(relativeL2(await readValues(out), expected)).toBeLessThan(1e-3);
  });
});

describe('products on emulated matrices', () => {
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

  it.each([[20, 80, 40]])('SwiGLU as part of it: %d x %d x %d', async (m, n, k) => {
    device.tuning.set('matmul/subgroup_matrix small', { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 });
    const random = new Random(n);
    const [x, w] = [random.normal(m * k, 30), quantise(random.normal(n * k), 'bf16')];
    const weight = random.normal(k);
    const normed = quantise(Float32Array.from(rmsNorm(x, weight, 1e-6, 0)), 'f16');
    const product = linearReference(normed, w, [m, n, k]);
    const expected = Float64Array.from({ length: (m * n) / 2 }, (_, i) => {
      const [row, f] = [Math.floor(i / (n / 2)), i % (n / 2)];
      return (activations.silu(product[row * n + f]!) * product[row * n + n / 2 + f]!) / 16;
    });
    const norm = { weight: uploadAs(device, weight, [k], 'f32'), eps: 1e-6, weightOffset: 0, dtype: 'f16' } as const;
    const operands = [uploadAs(device, x, [m, k], 'f32'), uploadAs(device, w, [n, k], 'bf16')] as const;
    const run = vi.spyOn(device, 'run');
    const out = swiglu(...operands, { norm, dtype: 'f16', scale: 1 / 16 });
    expect(run.mock.calls.map(([{ kernel }]) => kernel)).toContain('matmul/subgroup_matrix');
    run.mockRestore();
    expect(out.dtype).toBe('f16');
    expect(relativeL2(await readValues(out), expected)).toBeLessThan(1e-3);
  });
});

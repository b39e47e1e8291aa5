import { describe, expect, it } from 'vitest';
import { swiglu } from '../../src/kernels/swiglu.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { siluMul } from '../reference/elementwise.ts';
import { linearReference } from '../reference/matmul.ts';
import { rmsNorm as rmsNormReference } from '../reference/rms_norm.ts';
import { quantise, readBlocks, readValues, uploadAs } from '../tensors.ts';

const device = useDevice();

describe('SwiGLU of a prompt', () => {
  it.each([
    [9, 72, 72, 'f32'],
    [70, 144, 264, 'f16'],
    [260, 2576, 72, 'f16'],
    [150, 2568, 40, 'f32'],
    [300, 5136, 96, 'f16'],
  ] as const)('%d x %d x %d to %s', async (m, n, k, dtype) => {
    const random = new Random(m + n);
    const [x, w, weight] = [random.normal(m * k, 30), quantise(random.normal(n * k), 'bf16'), random.normal(k)];
    const normed = quantise(Float32Array.from(rmsNormReference(x, weight, 1e-6, 1)), 'f16');
    const product = linearReference(normed, w, [m, n, k]);
    const expected = siluMul(product, n / 2).map((value) => value / 16);
    const norm = { weight: uploadAs(device(), weight, [k]), eps: 1e-6, weightOffset: 1, dtype: 'f16' } as const;
    const operands = [uploadAs(device(), x, [m, k]), uploadAs(device(), w, [n, k], 'bf16')] as const;
    const gated = swiglu(...operands, { norm, dtype, scale: 1 / 16 });
    expect(gated.shape).toEqual([m, n / 2]);
    // Where the norm lies between two f16 values, the kernel may take the other one.
    expect(relativeL2(await readValues(gated), expected)).toBeLessThan(dtype === 'f16' ? 1e-3 : 1e-4);
    if (!device().multipliesMatrices || k % 32 !== 0) return;
    const blocked = swiglu(...operands, { norm, dtype: 'f16_blocks', scale: 1 / 16, variant: 'blocked_matrix' });
    expect(relativeL2(await readBlocks(blocked), expected)).toBeLessThan(1e-3);
  });
});

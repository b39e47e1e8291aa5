import { describe, expect, it } from 'vitest';
import { attention } from '../../src/kernels/attention.ts';
import { fitsBlocks, operandFor, toBlocks } from '../../src/kernels/blocks.ts';
import { narrow, sigmoidGate } from '../../src/kernels/elementwise.ts';
import { gatedRmsNorm } from '../../src/kernels/gated_rms_norm.ts';
import { heads } from '../../src/kernels/heads.ts';
import { layerNorm } from '../../src/kernels/layer_norm.ts';
import { linear } from '../../src/kernels/matmul.ts';
import { rmsNorm } from '../../src/kernels/rms_norm.ts';
import { swiglu } from '../../src/kernels/swiglu.ts';
import { DryDevice } from '../../src/tensor/dry_device.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { quantise, readBlocks, readValues, uploadAs } from '../tensors.ts';

const device = useDevice();

describe('matrices in blocks', () => {
  it.each([
    [1, 8, 'f16'],
    [16, 32, 'bf16'],
    [45, 40, 'f16'],
    [45, 40, 'f32'],
    [130, 96, 'bf16'],
  ] as const)('hold the values of one in rows: %d x %d of %s', async (rows, columns, dtype) => {
    const values = quantise(new Random(rows).normal(rows * columns), dtype);
    if (dtype !== 'f16') values[3] = -1e5; // saturates
    const blocks = toBlocks(uploadAs(device(), values, [rows, columns], dtype));
    expect(blocks.shape).toEqual([rows, columns]);
    expect(blocks.byteLength).toBe(Math.ceil(rows / 16) * 16 * columns * 2);
    const expected = quantise(values, 'f16').map((value) => Math.max(value, -65504));
    expect([...(await readBlocks(blocks))]).toEqual([...expected]);
  });

  it.each(['f32', 'bf16'] as const)('are narrowed from %s, part by part', async (dtype) => {
    const [rows, columns] = [37, 24];
    const values = quantise(new Random(5).normal(rows * columns), dtype);
    const target = device().tensor([rows, columns], 'f16_blocks');
    const unfit = device().clear(device().tensor([1], 'u32'));
    const cut = 410; // inside of a row and of a block
    for (const [first, end] of [
      [0, cut],
      [cut, values.length],
    ] as const) {
      const part = values.subarray(first, end);
      narrow(uploadAs(device(), part, [part.length], dtype), target, unfit, 0, first);
    }
    expect([...(await readBlocks(target))]).toEqual([...quantise(values, 'f16')]);
    expect([...(await device().readInt32(unfit))]).toEqual([0]);
  });

  it.each([72, 520])('are what norms leave where asked to: rows of %i', async (columns) => {
    const rows = 21;
    const x = uploadAs(device(), new Random(7).normal(rows * columns), [3, 7, columns]);
    const weight = uploadAs(device(), new Random(8).normal(columns), [columns]);
    for (const norm of [
      (dtype: 'f16' | 'f16_blocks') => layerNorm(x, { eps: 1e-6, dtype }),
      (dtype: 'f16' | 'f16_blocks') => rmsNorm(x, weight, { eps: 1e-6, weightOffset: 1, dtype }),
    ]) {
      const blocks = norm('f16_blocks');
      expect(blocks.shape).toEqual([rows, columns]);
      expect([...(await readBlocks(blocks))]).toEqual([...(await readValues(norm('f16')))]);
    }
  });

  it('are what gates leave where asked to', async () => {
    const [tokens, count, dim] = [21, 3, 24];
    const random = new Random(10);
    const x = uploadAs(device(), random.normal(tokens * count * dim), [tokens, count, dim]);
    const gateTensor = uploadAs(device(), random.normal(tokens * count * dim), [tokens, count * dim]);
    const gate = heads(gateTensor, { tokens, heads: count, dim, tokenStride: count * dim });
    const weight = uploadAs(device(), random.normal(dim), [dim]);
    for (const gated of [
      (dtype: 'f16' | 'f16_blocks') => gatedRmsNorm(x, weight, gate, { eps: 1e-6, dtype }),
      (dtype: 'f16' | 'f16_blocks') => sigmoidGate(x, gate, dtype),
    ]) {
      const blocks = gated('f16_blocks');
      expect(blocks.shape).toEqual([tokens, count * dim]);
      expect([...(await readBlocks(blocks))]).toEqual([...(await readValues(gated('f16')))]);
    }
    const narrowView = { tokens, heads: 6 * count, dim: 4, tokenStride: count * dim };
    const parts = () => sigmoidGate(x.reshape(tokens, 6 * count, 4), heads(gateTensor, narrowView), 'f16_blocks');
    expect(parts).toThrow(/multiples of 8 dims/);
  });

  it.each([undefined, 'naive'] as const)('are what attention leaves where asked to, by %s', async (variant) => {
    const [tokens, count, dim] = [19, 2, 8];
    const random = new Random(8);
    const view = () => {
      const tensor = uploadAs(device(), random.normal(tokens * count * dim), [tokens, count * dim], 'f16');
      return heads(tensor, { tokens, heads: count, dim, tokenStride: count * dim });
    };
    const operands = [view(), view(), view()] as const;
    const options = { causal: true, ...(variant && { variant }) };
    const blocks = attention(...operands, { ...options, dtype: 'f16_blocks' });
    expect(blocks.shape).toEqual([tokens, count * dim]);
    expect([...(await readBlocks(blocks))]).toEqual([
      ...(await readValues(attention(...operands, { ...options, dtype: 'f16' }))),
    ]);
  });

  it('are viewed by whole blocks only', async () => {
    const values = quantise(new Random(9).normal(70 * 32), 'f16');
    const blocks = toBlocks(uploadAs(device(), values, [70, 32], 'f16'));
    expect([...(await readBlocks(blocks.rows(32, 38)))]).toEqual([...values.subarray(32 * 32)]);
    expect(() => blocks.rows(8, 8)).toThrow(/inside of a block/);
    expect(() => blocks.reshape(35, 64)).toThrow(/cannot be viewed/);
  });

  it('serve wide enough weights, and products of two of them', () => {
    expect([fitsBlocks(8, 32), fitsBlocks(12, 32), fitsBlocks(8, 40)]).toEqual([true, false, false]);
    const [blocks, plain] = [device().tensor([16, 32], 'f16_blocks'), device().tensor([16, 32], 'f16')];
    expect([operandFor(blocks, 'f16'), operandFor(plain, 'f16'), operandFor(plain, 'f32')]).toEqual([
      'f16_blocks',
      'f16',
      'f32',
    ]);
    expect(() => linear(device().tensor([16, 32]), blocks)).toThrow('linear: x is f32 and the weight f16_blocks');
    expect(() => toBlocks(device().tensor([4, 12], 'f16'))).toThrow(/a multiple of 8/);
    expect(() => toBlocks(device().tensor([4, 16], 'i32'))).toThrow(/expected f16/);
    for (const norm of [
      () => layerNorm(device().tensor([4, 12]), { eps: 1, dtype: 'f16_blocks' }),
      () => rmsNorm(device().tensor([4, 12]), device().tensor([12]), { eps: 1, weightOffset: 0, dtype: 'f16_blocks' }),
    ])
      expect(norm).toThrow(/a multiple of 8/);
  });

  it('are what long prompts are multiplied in, by cards that multiply matrices', () => {
    const { opened } = device();
    const configuration = { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 } as const;
    const dry = new DryDevice({
      ...opened,
      features: new Set([...opened.features, 'subgroups', 'subgroup-matrix']),
      subgroupMinSize: 32,
      subgroupMaxSize: 32,
      subgroupMatrixConfigs: [configuration],
    });
    const kernelsOf = (body: () => unknown) => {
      dry.take();
      dry.tidy(() => void body());
      return dry.take().kernels;
    };
    const weight = dry.tensor([18432, 2560], 'bf16');
    const rows = (count: number) => dry.tensor([count, 2560], 'f16');
    expect(kernelsOf(() => linear(rows(1024), weight))).toEqual(['matmul/subgroup_matrix']);
    expect(kernelsOf(() => linear(rows(4096), weight))).toEqual(['blocks/to_blocks', 'matmul/blocked_matrix']);
    expect(kernelsOf(() => linear(rows(4096), weight, { variant: 'subgroup_matrix' }))).toEqual([
      'matmul/subgroup_matrix',
    ]);
    expect(kernelsOf(() => linear(dry.tensor([4096, 2560]), weight))).toEqual(['matmul/register']);
    const narrow = dry.tensor([2560, 9216], 'bf16');
    expect([1024, 2048].map((count) => operandFor(narrow, 'f16', count))).toEqual(['f16', 'f16_blocks']);
    expect([operandFor(narrow, 'f16'), operandFor(narrow, 'f32', 4096)]).toEqual(['f16', 'f32']);

    const h = dry.tensor([8192, 2560]);
    const norm = { weight: dry.tensor([2560]), eps: 1e-6, weightOffset: 1, dtype: 'f16' } as const;
    const mlp = ['rms_norm/rms_norm', 'blocks/to_blocks', 'matmul/blocked_matrix'];
    expect(kernelsOf(() => linear(h, weight, { norm }))).toEqual(mlp);
    const dtype = operandFor(narrow, 'f16', 8192);
    expect(kernelsOf(() => linear(swiglu(h, weight, { norm, dtype, scale: 1 }), narrow))).toEqual(mlp);
  });
});

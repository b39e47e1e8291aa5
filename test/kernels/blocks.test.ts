import { describe, expect, it } from 'vitest';
import { attention } from '../../src/kernels/attention.ts';
import { fitsBlocks, operandFor, toBlocks } from '../../src/kernels/blocks.ts';
import { narrow } from '../../src/kernels/elementwise.ts';
import { heads } from '../../src/kernels/heads.ts';
import { layerNorm } from '../../src/kernels/layer_norm.ts';
import { linear } from '../../src/kernels/matmul.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { quantise, readBlocks, readValues, uploadAs } from '../tensors.ts';

const device = useDevice();

describe('matrices in blocks', () => {
  it.each([
    [1, 8],
    [16, 32],
    [45, 40],
    [130, 96],
  ])('hold the values of one in rows: %d x %d', async (rows, columns) => {
    const values = quantise(new Random(rows).normal(rows * columns), 'f16');
    const blocks = toBlocks(uploadAs(device(), values, [rows, columns], 'f16'));
    expect(blocks.shape).toEqual([rows, columns]);
    expect(blocks.byteLength).toBe(Math.ceil(rows / 16) * 16 * columns * 2);
    expect([...(await readBlocks(blocks))]).toEqual([...values]);
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

  it('are what a norm leaves where asked to', async () => {
    const [rows, columns] = [21, 72];
    const x = uploadAs(device(), new Random(7).normal(rows * columns), [3, 7, columns]);
    const blocks = layerNorm(x, { eps: 1e-6, dtype: 'f16_blocks' });
    expect(blocks.shape).toEqual([rows, columns]);
    expect([...(await readBlocks(blocks))]).toEqual([...(await readValues(layerNorm(x, { eps: 1e-6, dtype: 'f16' })))]);
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
    expect(() => linear(blocks, plain)).toThrow('linear: x is f16_blocks and the weight f16');
    expect(() => linear(device().tensor([16, 32]), blocks)).toThrow('linear: x is f32 and the weight f16_blocks');
    expect(() => toBlocks(device().tensor([4, 12], 'f16'))).toThrow(/a multiple of 8/);
    expect(() => toBlocks(device().tensor([4, 16]))).toThrow(/expected f16/);
    expect(() => layerNorm(device().tensor([4, 12]), { eps: 1, dtype: 'f16_blocks' })).toThrow(/a multiple of 8/);
  });
});

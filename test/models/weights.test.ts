import { truncate } from 'node:fs/promises';
import { Float16Array } from '@petamoriken/float16';
import { describe, expect, it, vi } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';
import type { TensorToWrite } from '../../src/io/safetensors_write.ts';
import { Weights } from '../../src/models/weights.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { quantise, readBlocks, readValues } from '../tensors.ts';
import { CheckpointFolder, tensor } from './checkpoints.ts';

const device = useDevice();
const scratch = new CheckpointFolder();

/** Opens a file with these tensors for `use`. */
async function withWeights(
  tensors: Record<string, TensorToWrite>,
  use: (weights: Weights, path: string) => Promise<void>,
): Promise<void> {
  const path = await scratch.file(new Map(Object.entries(tensors)));
  const checkpoint = await Checkpoint.open(path);
  const weights = new Weights(device(), checkpoint);
  try {
    await use(weights, path);
  } finally {
    weights.destroy();
    await checkpoint.close();
  }
}

const count = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);

describe('matrices', () => {
  it.each([
    ['F32', 'f32'],
    ['F16', 'f16'],
    ['BF16', 'bf16'],
  ] as const)('keep the bytes of %s', async (stored, dtype) => {
    const m = tensor(stored, [3, 4], count(12, -5));
    await withWeights({ m }, async (weights) => {
      const matrix = weights.matrix('m', [3, 4]);
      await weights.load();
      expect([matrix.dtype, matrix.shape]).toEqual([dtype, [3, 4]]);
      expect(await device().readBytes(matrix)).toEqual(m.data);
    });
  });

  it('of F64 are converted to f32', async () => {
    const values = [-3, 0, 1, 1_000_000, 7, -8];
    await withWeights({ m: tensor('F64', [2, 3], values) }, async (weights) => {
      const matrix = weights.matrix('m', [2, 3]);
      await weights.load();
      expect([...(await device().readFloat32(matrix))]).toEqual(values);
    });
  });

  it.each([
    ['F32', 'f32'],
    ['F32', 'f16'],
    ['BF16', 'f16'],
  ] as const)('of %s are stored in another order, in %s', async (stored, operand) => {
    const values = count(32, -5);
    await withWeights({ m: tensor(stored, [2, 4, 2, 2], values) }, async (weights) => {
      const matrix = weights.forOperands(operand).permuted('m', [2, 4, 2, 2], ([o, c, h, w]) => ({
        from: [o!, c!, h! * w!],
        order: [2, 0, 1],
        shape: [h!, w!, 8],
      }));
      await weights.load();
      expect([matrix.dtype, matrix.shape]).toEqual([operand, [2, 2, 8]]);
      const expected = [0, 1, 2, 3].flatMap((k) => count(8).map((row) => values[4 * row + k]!));
      expect([...(await readValues(matrix))]).toEqual(expected);
      expect(weights.plan.tensors).toEqual([matrix]); // what was read is not kept
    });
  });

  it.each(['F16', 'BF16'] as const)('of %s with an odd number of elements are widened', async (stored) => {
    await withWeights({ m: tensor(stored, [3, 3], count(9, -4)) }, async (weights) => {
      const matrix = weights.matrix('m', [3, 3]);
      await weights.load();
      expect([...(await device().readFloat32(matrix))]).toEqual(count(9, -4));
    });
  });

  it('are followed by zeros where they are padded, across what is converted at once', async () => {
    const [rows, width, padded] = [3600, 588, 592]; // 4.2 MB as BF16
    const value = (row: number, column: number) => ((row * 7 + column) % 255) - 127;
    const values = Array.from({ length: rows * width }, (_, i) => value(Math.floor(i / width), i % width));
    const m = tensor('BF16', [rows, 3, 14, 14], values);
    await withWeights({ m }, async (weights) => {
      const matrix = weights.padded('m', [rows, 3, 14, 14], padded);
      const whole = weights.padded('m', [rows, 3, 14, 14], width);
      await weights.load();
      expect([matrix.shape, whole.shape, whole.dtype]).toEqual([[rows, padded], [rows, 3, 14, 14], 'bf16']);
      const found = await device().readFloat32(matrix);
      const expected = (i: number) => (i % padded < width ? value(Math.floor(i / padded), i % padded) : 0);
      expect(found.every((one, i) => one === expected(i))).toBe(true);
    });
  });

  it('larger than what is read or converted at once are whole', async () => {
    const rows = 10 * 1024;
    const width = 2048; // 40 MiB as F16, 160 MiB as F64
    const row = (r: number) => Array.from({ length: width }, (_, c) => ((r * 7 + c) % 4001) - 2000);
    const values = count(rows).flatMap(row);
    const many = {
      raw: tensor('F16', [rows, width], values),
      wide: tensor('F64', [rows / 4, width], values.slice(0, values.length / 4)),
    };
    await withWeights(many, async (weights) => {
      const raw = weights.matrix('raw', [rows, width]);
      const wide = weights.matrix('wide', [rows / 4, width]);
      await weights.load();
      expect(Buffer.compare(await device().readBytes(raw), many.raw.data)).toBe(0);
      const converted = await device().readFloat32(wide);
      expect(converted.every((value, i) => value === values[i])).toBe(true);
    });
  });
});

describe('matrices for f16 operands', () => {
  it('of F32 are rounded to f16, and keep f32 where a value is too large for it; others stay as they are', async () => {
    const near = [0.1, -2.0001, 1e-6, 65504, 3, 4];
    const tensors = {
      near: tensor('F32', [2, 3], near.map(Math.fround)),
      far: tensor('F32', [2, 2], [1, Math.fround(1e-3), 3, -70000]),
      odd: tensor('F32', [1, 3], [1, 2, 3]),
      brain: tensor('BF16', [2, 2], count(4)),
      vector: tensor(
        'F32',
        [4],
        count(4).map((i) => Math.fround(i / 10)),
      ),
    };
    const before = device().memory.allocated;
    await withWeights(tensors, async (weights) => {
      const scope = weights.forOperands('f16');
      const shapes = { near: [2, 3], far: [2, 2], odd: [1, 3], brain: [2, 2] };
      const matrices = Object.entries(shapes).map(([name, shape]) => scope.matrix(name, shape));
      const vector = scope.vector('vector', [4]);
      const exact = weights.matrix('near', [2, 3]);
      const seen: number[] = [];
      const total = weights.pendingBytes;
      await weights.load((loaded) => seen.push(loaded));
      expect(seen.at(-1)).toBe(total);
      const [narrow, far, odd, brain] = matrices;
      expect(matrices.map(({ dtype }) => dtype)).toEqual(['f16', 'f32', 'f32', 'bf16']);
      expect([...(await readValues(narrow!))]).toEqual([...quantise(Float32Array.from(near), 'f16')]);
      expect(await device().readBytes(far!)).toEqual(tensors.far.data);
      expect([...(await device().readFloat32(odd!))]).toEqual([1, 2, 3]);
      expect(await device().readBytes(brain!)).toEqual(tensors.brain.data);
      expect(vector.dtype).toBe('f32');
      expect(await device().readBytes(exact)).toEqual(tensors.near.data);
    });
    expect(device().memory.allocated).toBe(before);
  });

  it('lie in blocks where these are multiplied on matrices and wide enough, unless a value is too large', async () => {
    const [rows, width] = [40, 64];
    const values = quantise(new Random(1).normal(rows * width), 'bf16');
    const far = values.with(100, 2 ** 100);
    const tensors = {
      f32: tensor('F32', [rows, width], [...values]),
      bf16: tensor('BF16', [rows, width], [...values]),
      far: tensor('BF16', [rows, width], [...far]),
      narrow: tensor('F32', [rows, 24], [...values.subarray(0, rows * 24)]),
    };
    const matrices = vi.spyOn(device(), 'multipliesMatrices', 'get').mockReturnValue(true);
    try {
      await withWeights(tensors, async (weights) => {
        const scope = weights.inBlocks('f16');
        const found = Object.entries(tensors).map(([name, { shape }]) => scope.matrix(name, shape));
        await weights.load();
        expect(found.map(({ dtype }) => dtype)).toEqual(['f16_blocks', 'f16_blocks', 'bf16', 'f16']);
        expect(weights.inBlocks('f32').matrix('f32', [rows, width]).dtype).toBe('f32');
        for (const matrix of found.slice(0, 2)) {
          expect([...(await readBlocks(matrix))]).toEqual([...quantise(values, 'f16')]);
        }
        expect(await readValues(found[2]!)).toEqual(quantise(far, 'bf16'));
        await weights.load();
      });
    } finally {
      matrices.mockRestore();
    }
  });

  it('larger than a chunk are whole', async () => {
    const [rows, width] = [5 * 1024, 2048]; // 40 MiB as F32
    const table = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 17);
    const values = Float32Array.from({ length: rows * width }, (_, i) => table[(i * 7919) % 4001]!);
    const m = { dtype: 'F32', shape: [rows, width], data: new Uint8Array(values.buffer) } as const;
    await withWeights({ m }, async (weights) => {
      const matrix = weights.forOperands('f16').matrix('m', [rows, width]);
      await weights.load();
      const words = new Uint16Array((await device().readBytes(matrix)).buffer);
      const expected = new Uint16Array(Float16Array.from(table).buffer);
      expect(words.every((word, i) => word === expected[(i * 7919) % 4001])).toBe(true);
    });
  });
});

describe('stacks', () => {
  it.each(['F32', 'F16', 'BF16'] as const)('of %s lie one under the other', async (stored) => {
    const tensors = { a: tensor(stored, [2, 2], count(4)), b: tensor(stored, [1, 2], count(2, 4)) };
    await withWeights(tensors, async (weights) => {
      const stack = weights.stack(['a', 'b', 'a'], [2, 2], [1, 2], [2, 2]);
      await weights.load();
      expect(stack.shape).toEqual([5, 2]);
      expect(stack.dtype).toBe(stored.toLowerCase());
      const { a, b } = tensors;
      expect(await device().readBytes(stack)).toEqual(new Uint8Array([...a.data, ...b.data, ...a.data]));
    });
  });

  it('of several dtypes become f32', async () => {
    const tensors = {
      a: tensor('BF16', [2, 2], count(4)),
      b: tensor('F16', [1, 2], [4, 5]),
      c: tensor('F32', [1, 2], [6, 7]),
      d: tensor('F64', [1, 2], [8, 9]),
    };
    await withWeights(tensors, async (weights) => {
      const stack = weights.stack(['a', 'b', 'c', 'd'], [2, 2], [1, 2], [1, 2], [1, 2]);
      await weights.load();
      expect([stack.shape, stack.dtype]).toEqual([[5, 2], 'f32']);
      expect([...(await device().readFloat32(stack))]).toEqual(count(10));
    });
  });

  it('in which one part has an odd number of 16-bit elements become f32', async () => {
    const tensors = { a: tensor('BF16', [1, 3], count(3)), b: tensor('BF16', [2, 3], count(6, 3)) };
    await withWeights(tensors, async (weights) => {
      const stack = weights.stack(['a', 'b'], [1, 3], [2, 3]);
      await weights.load();
      expect([...(await device().readFloat32(stack))]).toEqual(count(9));
    });
  });
});

describe('vectors and host values', () => {
  it('are widened to f32, from any dtype, one after the other', async () => {
    const tensors = { a: tensor('BF16', [3], count(3)), b: tensor('F64', [2], [3, 4]), c: tensor('F32', [1], [5]) };
    await withWeights(tensors, async (weights) => {
      const vector = weights.vector('a', [3]);
      const vectors = weights.vectors(['a', 'b', 'c'], [3], [2], [1]);
      const host = weights.host('b', [2]);
      expect([...host]).toEqual([0, 0]);
      await weights.load();
      expect([...(await device().readFloat32(vector))]).toEqual(count(3));
      expect([...(await device().readFloat32(vectors))]).toEqual(count(6));
      expect([...host]).toEqual([3, 4]);
    });
  });

  it('may be scalars', async () => {
    await withWeights({ s: tensor('BF16', [], [0.5]) }, async (weights) => {
      const host = weights.host('s', []);
      await weights.load();
      expect([...host]).toEqual([0.5]);
    });
  });
});

describe('names', () => {
  it('are relative to the scope', async () => {
    await withWeights({ 'model.layers.0.w': tensor('F32', [2], [1, 2]) }, async (weights) => {
      const layer = weights.at('model').at('layers.0');
      expect([layer.prefix, layer.has('w'), layer.has('v'), weights.has('w')]).toEqual([
        'model.layers.0.',
        true,
        false,
        false,
      ]);
      expect(layer.shape('w')).toEqual([2]);
      const vector = layer.vector('w', [2]);
      await weights.load(); // what a scope declares is loaded by any of them
      expect([...(await device().readFloat32(vector))]).toEqual([1, 2]);
    });
  });

  it('that are missing and other shapes are refused, naming file and tensor', async () => {
    await withWeights({ 'block.w': tensor('F32', [2, 3], count(6)) }, async (weights, path) => {
      const block = weights.at('block');
      const refusals: [() => unknown, string][] = [
        [
          () => block.matrix('v', [2, 3]),
          `${path}: expected a tensor named "block.v", found none among its 1 tensors.`,
        ],
        [() => block.shape('v'), `${path}: expected a tensor named "block.v", found none among its 1 tensors.`],
        [() => block.matrix('w', [3, 2]), `${path}: block.w has shape [2,3]; [3,2] was expected`],
        [() => block.vector('w', [6]), `${path}: block.w has shape [2,3]; [6] was expected`],
        [() => block.host('w', [2, 3, 1]), `${path}: block.w has shape [2,3]; [2,3,1] was expected`],
        [() => block.stack(['w', 'w'], [2, 3], [2, 4]), `${path}: block.w has shape [2,3]; [2,4] was expected`],
      ];
      for (const [declare, sentence] of refusals) {
        expect(declare).toThrow(InputError);
        expect(declare).toThrow(sentence);
      }
      expect(weights.pendingBytes).toBe(0);
    });
  });

  it.each(['I32', 'BOOL'] as const)('of dtype %s are refused', async (stored) => {
    await withWeights({ 'block.w': tensor(stored, [2], [1, 0]) }, async (weights, path) => {
      const block = weights.at('block');
      const sentence = `${path}: block.w has dtype ${stored}; a weight of F32, F16, BF16, F64 was expected`;
      for (const declare of [() => block.matrix('w', [2]), () => block.vector('w', [2]), () => block.host('w', [2])]) {
        expect(declare).toThrow(InputError);
        expect(declare).toThrow(sentence);
      }
      expect(weights.pendingBytes).toBe(0);
    });
  });
});

describe('loading', () => {
  it('reads only what was declared and reports every byte of it', async () => {
    const tensors = {
      raw: tensor('BF16', [4, 4], count(16)),
      small: tensor('BF16', [4], count(4)),
      unused: tensor('F32', [64, 64], count(4096)),
    };
    await withWeights(tensors, async (weights) => {
      weights.matrix('raw', [4, 4]);
      weights.vector('small', [4]);
      expect(weights.pendingBytes).toBe(40);
      const seen: [number, number][] = [];
      await weights.load((loaded, total) => seen.push([loaded, total]));
      expect(seen).toEqual([
        [8, 40],
        [40, 40],
      ]);
      expect(weights.pendingBytes).toBe(0);
      await weights.load(() => expect.fail('nothing was left to load'));
    });
  });

  it('gives its memory back', async () => {
    const before = device().memory.allocated;
    await withWeights({ m: tensor('F32', [64, 64], count(4096)) }, async (weights) => {
      weights.matrix('m', [64, 64]);
      expect(device().memory.allocated - before).toBe(4 * 4096);
      await weights.load();
    });
    expect(device().memory.allocated).toBe(before);
  });

  it('refuses a file that was cut off after it was opened, and the device stays usable', async () => {
    const tensors = Object.fromEntries(count(8).map((i) => [`m${i}`, tensor('F32', [64, 64], count(4096, i))]));
    await withWeights(tensors, async (weights, path) => {
      for (const i of count(8)) weights.matrix(`m${i}`, [64, 64]);
      await truncate(path, 40_000);
      const refused = weights.load();
      await expect(refused).rejects.toThrow(InputError);
      await expect(refused).rejects.toThrow(/the file was cut off after it was opened/);
    });
    await withWeights(tensors, async (weights) => {
      const matrix = weights.matrix('m3', [64, 64]);
      await weights.load();
      expect([...(await device().readFloat32(matrix))]).toEqual(count(4096, 3));
    });
  });
});

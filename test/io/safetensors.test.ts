import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, truncate } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { SAFETENSORS_BYTES, type SafetensorsDtype, toFloat32 } from '../../src/io/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../../src/io/safetensors_write.ts';
import { fileBytes, opened, ScratchFolder, u8 } from './safetensors_files.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/', import.meta.url));
const scratch = new ScratchFolder();

describe('fixtures', () => {
  test('qwen3_5-tiny: eight shards, every tensor where the index says, sizes as the index counts them', async () => {
    const path = join(FIXTURES, 'qwen3_5-tiny');
    const index = JSON.parse(await readFile(join(path, 'model.safetensors.index.json'), 'utf8'));
    await opened(path, async (checkpoint) => {
      const entries = [...checkpoint.entries.values()];
      expect(entries.length).toBe(153);
      expect(Object.fromEntries(entries.map(({ name, file }) => [name, file.slice(path.length + 1)]))).toEqual(
        index.weight_map,
      );
      expect(entries.reduce((sum, entry) => sum + entry.byteLength, 0)).toBe(index.metadata.total_size);
      const elements = entries.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
      expect(elements.reduce((sum, count) => sum + count, 0)).toBe(index.metadata.total_parameters);
      expect({ ...checkpoint.metadata }).toEqual({ format: 'pt' });
    });
  });

  // Expected numbers: NumPy on the same bytes.
  test('qwen3_5-tiny: bf16 and f32 tensors as NumPy reads them', async () => {
    await opened(join(FIXTURES, 'qwen3_5-tiny'), async (checkpoint) => {
      const name = 'model.language_model.embed_tokens.weight';
      expect(checkpoint.has(name)).toBe(true);
      expect(checkpoint.entry(name)).toMatchObject({
        dtype: 'BF16',
        shape: [768, 96],
        offset: 1568,
        byteLength: 147456,
      });
      expect(
        createHash('sha256')
          .update(await checkpoint.readBytes(name))
          .digest('hex'),
      ).toBe('2f1ac060fe21b4233f4245b0232d60d2398ed515cb78b7b371df852457cccdcc');
      const values = await checkpoint.readFloat32(name);
      expect([...values.subarray(0, 4)]).toEqual([0.4921875, 1.046875, -0.2578125, -0.1494140625]);
      expect(values.reduce((sum, value) => sum + Math.abs(value), 0)).toBe(29334.742137908936);
      expect([...(await checkpoint.readFloat32('model.language_model.layers.0.linear_attn.A_log'))]).toEqual([
        1.28125, 1.453125, 1.4140625, 2.515625,
      ]);
    });
  });

  test('int32 reference ids as NumPy reads them', async () => {
    await opened(join(FIXTURES, 'qwen3_5-tiny/reference/text.safetensors'), async (checkpoint) => {
      const ids = await checkpoint.readInt32('input_ids');
      expect([...ids.subarray(0, 6)]).toEqual([751, 82, 706, 467, 198, 56]);
      expect(ids.reduce((sum, id) => sum + id, 0)).toBe(17201);
      expect(checkpoint.metadata.text).toMatch(/^<\|im_start\|>system\nYou are/);
    });
  });

  // The library reads only files without __metadata__.
  test.each([
    'image_ops.safetensors',
    'spatialstack-tiny/reference/fusion_operators.safetensors',
    'vggt-tiny/reference/one_frame.safetensors',
  ])('%s: every tensor as npm safetensors reads it', async (file) => {
    const { SafeTensor } = createRequire(import.meta.url)('safetensors') as {
      SafeTensor: new (
        bytes: Uint8Array,
      ) => { metadata: Map<string, { dtype: string; shape: number[] }>; getTensor(name: string): Uint8Array };
    };
    const theirs = new SafeTensor(new Uint8Array(await readFile(join(FIXTURES, file))));
    await opened(join(FIXTURES, file), async (checkpoint) => {
      expect([...checkpoint.entries.keys()].sort()).toEqual([...theirs.metadata.keys()].sort());
      for (const [name, { dtype, shape }] of theirs.metadata) {
        expect(checkpoint.entry(name)).toMatchObject({ dtype, shape });
        expect(Buffer.compare(await checkpoint.readBytes(name), theirs.getTensor(name))).toBe(0);
      }
    });
  });

  test.each(['qwen3_5-headdim', 'spatialstack-tiny', 'vggt-tiny', '../../nano'])('%s opens', async (name) => {
    expect(await opened(join(FIXTURES, name), ({ entries }) => entries.size)).toBeGreaterThan(50);
  });
});

describe('reading', () => {
  test('write, then read: every dtype, scalars, empty tensors, names that are special in JavaScript', async () => {
    const tensors = new Map<string, TensorToWrite>();
    for (const [dtype, size] of Object.entries(SAFETENSORS_BYTES) as [SafetensorsDtype, number][]) {
      tensors.set(`t.${dtype}`, { dtype, shape: [3, 1], data: Uint8Array.from({ length: 3 * size }, (_, i) => i % 2) });
    }
    tensors.set('scalar', { dtype: 'BF16', shape: [], data: Uint8Array.of(0x80, 0x3f) });
    tensors.set('empty', { dtype: 'F32', shape: [4, 0, 2], data: new Uint8Array(0) });
    for (const name of ['__proto__', 'constructor', 'toString', '', '0', '"\\\n\u0000é🙂']) {
      tensors.set(name, { dtype: 'U8', shape: [1], data: Uint8Array.of(7) });
    }
    const path = join(scratch.path, 'round-trip.safetensors');
    await writeSafetensors(path, tensors, { format: 'pt', note: 'é "quoted"' });
    const bytes = await readFile(path);
    const headerLength = Number(bytes.readBigUInt64LE());
    expect(headerLength % 8).toBe(0);
    await opened(path, async (checkpoint) => {
      expect({ ...checkpoint.metadata }).toEqual({ format: 'pt', note: 'é "quoted"' });
      expect([...checkpoint.entries.keys()].sort()).toEqual([...tensors.keys()].sort());
      for (const [name, { dtype, shape, data }] of tensors) {
        const entry = checkpoint.entry(name);
        expect(entry).toMatchObject({ dtype, shape, byteLength: data.length });
        expect(entry.offset % SAFETENSORS_BYTES[dtype]).toBe(0);
        expect(await checkpoint.readBytes(name)).toEqual(new Uint8Array(data));
        expect((await checkpoint.readFloat32(name)).length).toBe(data.length / SAFETENSORS_BYTES[dtype]);
      }
      expect([...(await checkpoint.readFloat32('scalar'))]).toEqual([1]);
    });
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });

  test('a part of a tensor goes straight into the target', async () => {
    const path = await scratch.store(fileBytes({ a: u8(0, 3), b: u8(3, 13) }, 13));
    await opened(path, async (checkpoint) => {
      const target = new Uint8Array(6).fill(99);
      await checkpoint.read(checkpoint.entry('b'), target.subarray(1, 5), 2);
      expect([...target]).toEqual([99, 5, 6, 7, 8, 99]);
      await checkpoint.read(checkpoint.entry('b'), new Uint8Array(0), 10);
      await expect(checkpoint.read(checkpoint.entry('b'), target, 5)).rejects.toThrow(RangeError);
      await expect(checkpoint.read(checkpoint.entry('b'), target, -1)).rejects.toThrow(RangeError);
    });
  });

  test('a tensor longer than one read is converted whole, from an odd offset', async () => {
    const count = 5_000_001;
    const values = Uint16Array.from({ length: count }, (_, i) => i % 0x7c00);
    const path = await scratch.store(
      Buffer.concat([
        fileBytes({ a: u8(0, 1), b: { dtype: 'F16', shape: [count], data_offsets: [1, 1 + 2 * count] } }, 1),
        new Uint8Array(values.buffer),
      ]),
    );
    await opened(path, async (checkpoint) => {
      const expected = toFloat32(new Uint8Array(values.buffer), 'F16');
      expect(
        Buffer.compare(new Uint8Array((await checkpoint.readFloat32('b')).buffer), new Uint8Array(expected.buffer)),
      ).toBe(0);
    });
  });

  test('readInt32: every integer dtype; what does not fit is refused', async () => {
    const path = join(scratch.path, 'integers.safetensors');
    const tensor = (dtype: SafetensorsDtype, data: ArrayBufferView): TensorToWrite => ({
      dtype,
      shape: [data.byteLength / SAFETENSORS_BYTES[dtype]],
      data: new Uint8Array(data.buffer),
    });
    await writeSafetensors(
      path,
      new Map([
        ['i64', tensor('I64', BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n))],
        ['u64', tensor('U64', BigUint64Array.of(5n))],
        ['u32', tensor('U32', Uint32Array.of(6))],
        ['i16', tensor('I16', Int16Array.of(-7))],
        ['u16', tensor('U16', Uint16Array.of(65535))],
        ['i8', tensor('I8', Int8Array.of(-8))],
        ['u8', tensor('U8', Uint8Array.of(200))],
        ['bool', tensor('BOOL', Uint8Array.of(0, 1))],
        ['large', tensor('I64', BigInt64Array.of(0n, 2n ** 31n))],
        ['unsigned', tensor('U32', Uint32Array.of(2 ** 31))],
        ['float', tensor('F16', Uint16Array.of(0))],
      ]),
    );
    await opened(path, async (checkpoint) => {
      const read = async (name: string) => [...(await checkpoint.readInt32(name))];
      expect(await read('i64')).toEqual([-2147483648, 2147483647]);
      expect(await read('u64')).toEqual([5]);
      expect(await read('u32')).toEqual([6]);
      expect(await read('i16')).toEqual([-7]);
      expect(await read('u16')).toEqual([65535]);
      expect(await read('i8')).toEqual([-8]);
      expect(await read('u8')).toEqual([200]);
      expect(await read('bool')).toEqual([0, 1]);
      await expect(read('large')).rejects.toThrow(/"large".*2147483648/);
      await expect(read('unsigned')).rejects.toThrow(InputError);
      await expect(read('float')).rejects.toThrow(/"float".*F16/);
      await expect(read('absent')).rejects.toThrow(/tensor named "absent".*11 tensors/);
      expect(() => checkpoint.entry('__proto__')).toThrow(InputError);
    });
  });

  test('a file cut off after it was opened', async () => {
    const path = await scratch.store(fileBytes({ a: u8(0, 100) }, 100));
    await opened(path, async (checkpoint) => {
      await truncate(path, checkpoint.entry('a').offset + 10);
      await expect(checkpoint.readBytes('a')).rejects.toThrow(InputError);
    });
  });

  test('a sparse file of 3 TB opens without being read', async () => {
    const size = 3e12;
    const path = await scratch.store(fileBytes({ a: { dtype: 'F32', shape: [size / 4], data_offsets: [0, size] } }));
    await truncate(path, (await readFile(path)).length + size);
    await opened(path, async (checkpoint) => {
      const last = new Uint8Array(4).fill(1);
      await checkpoint.read(checkpoint.entry('a'), last, size - 4);
      expect([...last]).toEqual([0, 0, 0, 0]);
    });
  });
});

describe('good files that look odd', () => {
  test.each<[string, unknown, number]>([
    ['no tensors', {}, 0],
    ['padding after the header', '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}     ', 2],
    ['header order differs from data order', { b: u8(2, 5), a: u8(0, 2) }, 5],
    [
      'empty tensors between others',
      { a: u8(0, 2), e: u8(2, 2), f: { ...u8(2, 2), shape: [0, 5] }, b: u8(2, 4), z: u8(4, 4) },
      4,
    ],
    ['an empty tensor named after the one that begins at the same byte', { b: u8(0, 4), e: u8(0, 0) }, 4],
    ['fields that nobody knows', { a: { ...u8(0, 2), note: { dtype: 1 } } }, 2],
    ['a name that looks like a key of its own entry', { dtype: u8(0, 1), shape: u8(1, 2), data_offsets: u8(2, 3) }, 3],
    ['equal keys in different objects', { __metadata__: { a: '1', dtype: '2' }, a: u8(0, 1) }, 1],
  ])('%s', async (_, header, dataBytes) => {
    await opened(await scratch.store(fileBytes(header, dataBytes)), async (checkpoint) => {
      for (const [name, { byteLength, offset }] of checkpoint.entries) {
        const bytes = await checkpoint.readBytes(name);
        expect(bytes.length).toBe(byteLength);
        if (byteLength > 0) expect(offset).toBeGreaterThan(8);
      }
    });
  });

  test('keys of __metadata__ called __proto__ stay keys', async () => {
    const path = await scratch.store(fileBytes('{"__metadata__":{"__proto__":"x"}}'));
    await opened(path, ({ metadata }) => {
      expect(Object.keys(metadata)).toEqual(['__proto__']);
      expect(metadata.toString).toBeUndefined();
    });
  });
});

describe('writing', () => {
  test('data that does not fit its shape leaves nothing behind', async () => {
    const path = await scratch.storeFolder({});
    const write = (tensor: TensorToWrite, name = 'a') =>
      writeSafetensors(join(path, 'a.safetensors'), new Map([[name, tensor]]));
    await expect(write({ dtype: 'F32', shape: [2], data: new Uint8Array(7) })).rejects.toThrow(RangeError);
    await expect(write({ dtype: 'U8', shape: [0], data: new Uint8Array(0) }, '__metadata__')).rejects.toThrow(
      RangeError,
    );
    expect(await readdir(path)).toEqual([]);
  });

  test('a place that does not exist is an InputError; one taken by a folder leaves no temporary file', async () => {
    const path = await scratch.storeFolder({});
    await expect(writeSafetensors(join(path, 'no/a.safetensors'), new Map())).rejects.toThrow(InputError);
    await mkdir(join(path, 'b.safetensors'));
    await expect(writeSafetensors(join(path, 'b.safetensors'), new Map())).rejects.toThrow();
    expect(await readdir(path)).toEqual(['b.safetensors']);
  });

  test('an existing file is replaced', async () => {
    const path = await scratch.store(fileBytes({ a: u8(0, 1) }, 1));
    await writeSafetensors(path, new Map([['b', { dtype: 'U8', shape: [], data: Uint8Array.of(1) }]]));
    expect(await opened(path, ({ entries }) => [...entries.keys()])).toEqual(['b']);
  });
});

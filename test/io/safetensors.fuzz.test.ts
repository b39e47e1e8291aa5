import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { Checkpoint, SAFETENSORS_BYTES } from '../../src/io/safetensors.ts';
import { fileBytes, ScratchFolder, u8 } from './safetensors_files.ts';

const scratch = new ScratchFolder();
const RUNS = 400;

/**
 * Opens what is at the path and reads every tensor. Either an InputError comes, or entries that tile their files; anything
 * else fails the test.
 */
async function openOrRefuse(path: string): Promise<void> {
  let checkpoint: Checkpoint;
  try {
    checkpoint = await Checkpoint.open(path);
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return;
  }
  try {
    for (const [name, entry] of checkpoint.entries) {
      expect(entry.name).toBe(name);
      const count = entry.shape.reduce((product, size) => product * size, 1);
      expect(entry.byteLength).toBe(count * SAFETENSORS_BYTES[entry.dtype]);
      expect((await checkpoint.readFloat32(name)).length).toBe(count);
    }
  } finally {
    await checkpoint.close();
  }
}

const size = fc.oneof(fc.nat(4), fc.integer({ min: -2, max: 2 ** 31 }), fc.double(), fc.constant(2 ** 53 - 1));
const dtype = fc.oneof(fc.constantFrom(...Object.keys(SAFETENSORS_BYTES), 'F8_E4M3', 'F4', 'C64'), fc.string());
const name = fc.oneof(fc.string(), fc.constantFrom('a', 'b', '__proto__', '__metadata__', 'constructor', 'toString'));
const entry = fc.record(
  {
    dtype: fc.oneof(dtype, fc.jsonValue()),
    shape: fc.oneof(fc.array(size, { maxLength: 3 }), fc.jsonValue()),
    data_offsets: fc.oneof(fc.tuple(size, size), fc.jsonValue()),
  },
  { requiredKeys: [] },
);
const header = fc.dictionary(name, fc.oneof(entry, fc.jsonValue()));

const VALID = JSON.stringify({
  __metadata__: { format: 'pt' },
  a: u8(0, 4),
  'b.weight': { dtype: 'BF16', shape: [2, 3], data_offsets: [4, 16] },
  c: { dtype: 'F32', shape: [], data_offsets: [16, 20] },
});

describe('whatever the bytes, open() succeeds or throws an InputError', () => {
  test('arbitrary bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => openOrRefuse(await scratch.store(bytes))),
      { numRuns: RUNS },
    );
  });

  test('arbitrary bytes as header', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), fc.boolean(), async (bytes, brace) => {
        const json = brace ? Uint8Array.of(0x7b, ...bytes) : bytes;
        await openOrRefuse(await scratch.store(fileBytes(json, 8)));
      }),
      { numRuns: RUNS },
    );
  });

  test('arbitrary JSON, and near misses, as header', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(header, fc.jsonValue()), fc.nat(8), async (value, dataBytes) =>
        openOrRefuse(await scratch.store(fileBytes(JSON.stringify(value), dataBytes))),
      ),
      { numRuns: RUNS },
    );
  });

  test('a valid file with bytes replaced, inserted and removed', async () => {
    const valid = fileBytes(VALID, 20);
    const edit = fc.record({ at: fc.nat(valid.length), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { maxLength: 3 }), async (edits) => {
        const bytes = [...valid];
        for (const { at, remove, insert } of edits) bytes.splice(at, remove, ...insert);
        await openOrRefuse(await scratch.store(Uint8Array.from(bytes)));
      }),
      { numRuns: RUNS },
    );
  });

  test('a valid header with digits and quotes exchanged, its length kept right', async () => {
    const edit = fc.tuple(fc.nat(VALID.length - 1), fc.constantFrom(...'0123456789-.e[]{}",:\\ abn'));
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
        const text = [...VALID];
        for (const [at, char] of edits) text[at] = char;
        await openOrRefuse(await scratch.store(fileBytes(text.join(''), 20)));
      }),
      { numRuns: RUNS },
    );
  });
});

describe('whatever the index, open() succeeds or throws an InputError', () => {
  test('arbitrary JSON, near misses and arbitrary text', async () => {
    const file = fc.oneof(fc.constantFrom('1.safetensors', '2.safetensors', '..', '/'), fc.string(), fc.jsonValue());
    const index = fc.oneof(
      fc
        .record({ weight_map: fc.oneof(fc.dictionary(name, file), fc.jsonValue()) })
        .map((value) => JSON.stringify(value)),
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(index, async (text) => {
        const path = await scratch.storeFolder({
          '1.safetensors': fileBytes({ a: u8(0, 1) }, 1),
          '2.safetensors': fileBytes({ b: u8(0, 1) }, 1),
          'model.safetensors.index.json': text,
        });
        await openOrRefuse(path);
      }),
      { numRuns: RUNS / 2 },
    );
  });
});

import { mkdir, symlink, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { expectRefused, fileBytes, opened, ScratchFolder, u8 } from './safetensors_files.ts';

const scratch = new ScratchFolder();

describe('files that are refused', () => {
  test.each<[string, unknown, number, RegExp]>([
    ['an empty header', '', 0, /begins with "\{".*empty/],
    ['a leading space', ' {}', 0, /begins with "\{".*0x20/],
    ['a byte order mark', '\uFEFF{}', 0, /0xef/],
    ['an array', '[]', 0, /begins with/],
    ['bad UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 0, /UTF-8/],
    ['bad JSON', '{"a":', 0, /expected JSON/],
    ['JSON and more', '{} {}', 0, /expected JSON/],
    ['bad JSON with a bad key', '{"\\x":1}', 0, /expected JSON/],
    ['control characters in an error', '{\n\u0007\n}', 0, /expected JSON/],
    ['endless nesting', `{"a":${'['.repeat(1e6)}`, 0, /nesting/],
    [
      'a name twice',
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a" : {"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      0,
      /"a" twice/,
    ],
    [
      'a name twice, once escaped',
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      0,
      /"a" twice/,
    ],
    [
      'a name twice after one with a quote in it',
      '{"\\"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      0,
      /"a" twice/,
    ],
    ['a field twice', '{"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}', 0, /"dtype" twice/],
    [
      '__proto__ twice',
      '{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      0,
      /"__proto__" twice/,
    ],
    ['an entry that is a number', { a: 1 }, 0, /"a".*expected an object.*found 1/],
    ['an entry that is null', { a: null }, 0, /found null/],
    ['an entry that is an array', { a: [] }, 0, /expected an object/],
    ['an entry called __proto__ that is a number', '{"__proto__":1}', 0, /"__proto__".*found 1/],
    ['no dtype', { a: { shape: [0], data_offsets: [0, 0] } }, 0, /dtype.*F64, F32.*BOOL.*found nothing/],
    ['an unknown dtype', { a: { ...u8(0, 1), dtype: 'f32' } }, 1, /F64, F32.*BOOL.*found "f32"/],
    ['a dtype named like a method', { a: { ...u8(0, 1), dtype: 'constructor' } }, 1, /found "constructor"/],
    ['a dtype that is a number', { a: { ...u8(0, 1), dtype: 3 } }, 1, /found 3/],
    ['F8_E4M3', { a: { ...u8(0, 1), dtype: 'F8_E4M3' } }, 1, /"F8_E4M3" is not supported.*BF16/],
    ['F4', { a: { ...u8(0, 1), dtype: 'F4' } }, 1, /"F4" is not supported/],
    ['no shape', { a: { dtype: 'U8', data_offsets: [0, 0] } }, 0, /shape.*found nothing/],
    ['a shape that is a number', { a: { ...u8(0, 1), shape: 1 } }, 1, /shape.*found 1/],
    ['a negative size', { a: { ...u8(0, 1), shape: [-1] } }, 1, /shape.*\[-1\]/],
    ['a fractional size', { a: { ...u8(0, 1), shape: [0.5] } }, 1, /shape.*\[0\.5\]/],
    ['a size that is a string', { a: { ...u8(0, 1), shape: ['1'] } }, 1, /shape.*\["1"\]/],
    ['a size of minus zero', '{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', 0, /shape/],
    ['a size beyond 2^53', '{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,0]}}', 0, /shape/],
    ['a shape of shapes', { a: { ...u8(0, 1), shape: [[1]] } }, 1, /shape.*array of 1/],
    ['a product that overflows', { a: { ...u8(0, 1), shape: [2 ** 30, 2 ** 30, 2 ** 30] } }, 1, /2\^53/],
    ['a product that overflows back to zero in 64 bits', { a: { ...u8(0, 0), shape: [2 ** 32, 2 ** 32] } }, 0, /2\^53/],
    ['no data_offsets', { a: { dtype: 'U8', shape: [0] } }, 0, /data_offsets.*found nothing/],
    ['one offset', { a: { ...u8(0, 1), data_offsets: [0] } }, 1, /data_offsets \[begin, end\].*\[0\]/],
    ['three offsets', { a: { ...u8(0, 1), data_offsets: [0, 1, 2] } }, 1, /data_offsets \[begin, end\]/],
    ['offsets that are strings', { a: { ...u8(0, 1), data_offsets: ['0', '1'] } }, 1, /data_offsets/],
    ['a negative offset', { a: { ...u8(0, 1), data_offsets: [-1, 0] } }, 1, /data_offsets/],
    ['offsets the wrong way round', { a: { ...u8(0, 1), data_offsets: [1, 0] } }, 1, /data_offsets/],
    ['offsets beyond the file', { a: u8(0, 5) }, 4, /file's 4 bytes of data.*\[0, 5\]/],
    [
      'offsets that do not match the shape',
      { a: { dtype: 'F32', shape: [2], data_offsets: [0, 7] } },
      7,
      /8 bytes.*F32.*7 bytes/,
    ],
    ['overlapping tensors', { a: u8(0, 3), b: u8(2, 5) }, 5, /"b".*overlap of 1/],
    ['two names for the same bytes', { a: u8(0, 3), b: u8(0, 3) }, 3, /overlap of 3/],
    ['an empty tensor inside another', { a: u8(0, 3), b: u8(1, 1) }, 3, /overlap/],
    ['a hole', { a: u8(0, 2), b: u8(3, 5) }, 5, /"b".*gap of 1/],
    ['a hole before the first', { a: u8(1, 2) }, 2, /gap of 1/],
    ['trailing bytes', { a: u8(0, 2) }, 5, /3 more bytes/],
    ['bytes without tensors', {}, 5, /5 more bytes/],
    ['__metadata__ that is a string', { __metadata__: 'x' }, 0, /__metadata__.*"x"/],
    ['__metadata__ that is null', { __metadata__: null }, 0, /__metadata__.*null/],
    ['__metadata__ of numbers', { __metadata__: { a: 1 } }, 0, /__metadata__ key "a".*found 1/],
  ])('%s', async (_, header, dataBytes, message) => {
    await expectRefused(await scratch.store(fileBytes(header, dataBytes)), message);
  });

  test('truncated files, at every length', async () => {
    const whole = fileBytes({ a: u8(0, 4) }, 4);
    for (let length = 0; length < whole.length; length++) {
      await expectRefused(await scratch.store(whole.subarray(0, length)), /expected/);
    }
  });

  test('a header length beyond the file', async () => {
    await expectRefused(await scratch.store(new Uint8Array(64).fill(255)), /header length of \d+.*56 bytes left/);
  });

  test('a header of more than 100 MB, though the file has it', async () => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(100_000_001n);
    const path = await scratch.store(length);
    await truncate(path, 200_000_000);
    await expectRefused(path, /at most 100000000 bytes, found 100000001/);
  });

  test('long names and values are cut in the message', async () => {
    const path = await scratch.store(fileBytes({ ['x'.repeat(1e5)]: { ...u8(0, 1), dtype: 'y'.repeat(1e5) } }, 1));
    const error = await Checkpoint.open(path).catch((caught: Error) => caught);
    expect((error as Error).message.length).toBeLessThan(1000);
  });
});

describe('paths', () => {
  test('a folder with one file of any name, or with model.safetensors among others', async () => {
    const one = await scratch.storeFolder({
      'weights.safetensors': fileBytes({ a: u8(0, 1) }, 1),
      'config.json': '{}',
    });
    expect(await opened(one, ({ entries }) => [...entries.keys()])).toEqual(['a']);
    const two = await scratch.storeFolder({
      'model.safetensors': fileBytes({ b: u8(0, 1) }, 1),
      'other.safetensors': fileBytes({ a: u8(0, 1) }, 1),
    });
    expect(await opened(two, ({ entries }) => [...entries.keys()])).toEqual(['b']);
  });

  test('a missing path', () => expectRefused(join(scratch.path, 'absent'), /no such file or folder/));
  test('a path with a zero byte', () => expectRefused(`${scratch.path}/a\0b`, /expected a readable file/));
  test('a folder without a checkpoint', async () =>
    expectRefused(await scratch.storeFolder({ 'config.json': '{}' }), /found no safetensors file/));
  test('a folder with two candidates', async () =>
    expectRefused(await scratch.storeFolder({ 'a.safetensors': '', 'b.safetensors': '' }), /exactly one.*found 2/));
  test('a file of another kind', async () =>
    expectRefused(join(await scratch.storeFolder({ 'a.bin': '' }), 'a.bin'), /found another kind of file/));
  test('neither file nor folder', () => expectRefused('/dev/null', /found neither/));
  test('a folder called model.safetensors', async () => {
    const path = await scratch.storeFolder({});
    await mkdir(join(path, 'model.safetensors'));
    await expectRefused(path, /expected a file/);
  });
  test('a loop of links', async () => {
    const path = join(scratch.path, 'loop.safetensors');
    await symlink(path, path);
    await expectRefused(path, /ELOOP/);
  });
});

describe('indexes', () => {
  const shards = {
    'x-1.safetensors': fileBytes({ __metadata__: { format: 'pt', part: '1' }, a: u8(0, 2) }, 2),
    'x-2.safetensors': fileBytes({ __metadata__: { part: '2' }, b: u8(0, 3), extra: u8(3, 4) }, 4),
  };
  const withIndex = (index: unknown) =>
    scratch.storeFolder({
      ...shards,
      'model.safetensors.index.json': typeof index === 'string' ? index : JSON.stringify(index),
    });

  test('shards, with a tensor that the index does not name, and merged metadata', async () => {
    const path = await withIndex({ metadata: {}, weight_map: { b: 'x-2.safetensors', a: 'x-1.safetensors' } });
    await opened(path, async ({ entries, metadata }) => {
      expect([...entries.keys()]).toEqual(['a', 'b', 'extra']);
      expect({ ...metadata }).toEqual({ format: 'pt', part: '2' });
    });
  });

  test.each<[string, unknown, RegExp]>([
    ['bad JSON', '{', /expected JSON/],
    ['an array', '[]', /expected a JSON object/],
    ['a byte order mark', '\uFEFF{"weight_map":{"a":"x-1.safetensors"}}', /expected JSON/],
    ['no weight_map', {}, /weight_map.*found nothing/],
    ['weight_map of the wrong type', { weight_map: ['a'] }, /weight_map.*\["a"\]/],
    ['an empty weight_map', { weight_map: {} }, /expected tensors in weight_map/],
    ['a shard that is a number', { weight_map: { a: 1 } }, /"a".*found 1/],
    ['a shard above the folder', { weight_map: { a: '../x-1.safetensors' } }, /without "\/" or "\.\."/],
    ['a shard at an absolute path', { weight_map: { a: '/etc/passwd' } }, /found "\/etc\/passwd"/],
    ['a shard called ..', { weight_map: { a: '..' } }, /found "\.\."/],
    ['a shard called .', { weight_map: { a: '.' } }, /found "\."/],
    ['a shard without name', { weight_map: { a: '' } }, /found ""/],
    ['a shard with a backslash', { weight_map: { a: 'b\\c' } }, /same folder/],
    ['a shard with a zero byte', { weight_map: { a: 'b\0c' } }, /same folder/],
    ['a shard that is absent', { weight_map: { a: 'x-3.safetensors' } }, /x-3\.safetensors: no such file/],
    ['a tensor that is absent', { weight_map: { c: 'x-1.safetensors' } }, /x-1\.safetensors.*"c".*no such tensor/],
    ['a tensor in another shard', { weight_map: { a: 'x-2.safetensors', b: 'x-1.safetensors' } }, /found it in .*x-/],
    ['a tensor called __proto__', '{"weight_map":{"__proto__":"x-1.safetensors"}}', /"__proto__".*no such tensor/],
    [
      'weight_map called __proto__',
      '{"__proto__":{"weight_map":{"a":"x-1.safetensors"}}}',
      /weight_map.*found nothing/,
    ],
    ['a tensor twice', '{"weight_map":{"a":"x-1.safetensors","a":"x-2.safetensors"}}', /"a" twice/],
  ])('refused: %s', async (_, index, message) => {
    await expectRefused(await withIndex(index), message);
  });

  test('refused: the same name in two shards', async () => {
    const path = await scratch.storeFolder({
      '1.safetensors': fileBytes({ a: u8(0, 1), c: u8(1, 2) }, 2),
      '2.safetensors': fileBytes({ b: u8(0, 1), c: u8(1, 2) }, 2),
      'model.safetensors.index.json': JSON.stringify({ weight_map: { a: '1.safetensors', b: '2.safetensors' } }),
    });
    await expectRefused(path, /"c" in one file only/);
  });
});

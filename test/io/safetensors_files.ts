import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';

/** A temporary folder for the tests of one file: made before them, removed after them. */
export class ScratchFolder {
  path = '';
  #count = 0;

  constructor() {
    beforeAll(async () => {
      this.path = await mkdtemp(join(tmpdir(), 'safetensors-'));
    });
    afterAll(() => rm(this.path, { recursive: true }));
  }

  /** The path of a new .safetensors file with these bytes. */
  async store(bytes: Uint8Array): Promise<string> {
    const path = join(this.path, `${this.#count++}.safetensors`);
    await writeFile(path, bytes);
    return path;
  }

  /** The path of a new folder with these files. */
  async storeFolder(contents: Record<string, Uint8Array | string>): Promise<string> {
    const path = join(this.path, `${this.#count++}`);
    await mkdir(path);
    for (const [name, bytes] of Object.entries(contents)) await writeFile(join(path, name), bytes);
    return path;
  }
}

/** A safetensors file with this header (a JSON value, or text or bytes as they are) and bytes 0, 1, 2, ... as its data. */
export function fileBytes(header: unknown, dataBytes = 0): Uint8Array {
  const json =
    header instanceof Uint8Array ? header : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Uint8Array.from({ length: dataBytes }, (_, i) => i)]);
}

/** The header entry of a row of bytes. */
export function u8(begin: number, end: number) {
  return { dtype: 'U8', shape: [end - begin], data_offsets: [begin, end] };
}

/** Opens, hands over, closes. */
export async function opened<T>(path: string, use: (checkpoint: Checkpoint) => Promise<T> | T): Promise<T> {
  const checkpoint = await Checkpoint.open(path);
  try {
    return await use(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

/** Opening refuses with an InputError whose message is one line that names the path and matches. */
export async function expectRefused(path: string, message: RegExp): Promise<void> {
  const error = await opened(path, () => undefined).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(InputError);
  const text = (error as InputError).message;
  expect(text).toMatch(message);
  expect(text).toContain(path);
  expect(text).not.toMatch(/\n/);
}

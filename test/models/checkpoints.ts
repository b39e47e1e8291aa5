import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Float16Array } from '@petamoriken/float16';
import { afterAll, beforeAll } from 'vitest';
import { Checkpoint, type SafetensorsDtype } from '../../src/io/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../../src/io/safetensors_write.ts';

/** Tensors of a checkpoint by name. */
export type Tensors = Map<string, TensorToWrite>;

/** A JSON object such as a config.json. */
export type Json = Record<string, unknown>;

/** The upper halves of float32 values, which must be exact. */
function bf16Bytes(values: readonly number[]): Uint8Array {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  if (bits.some((word) => (word & 0xffff) !== 0)) throw new RangeError('values that bf16 does not hold');
  return new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
}

/** A tensor to write; the values must be exact in its dtype. */
export function tensor(
  dtype: SafetensorsDtype & ('F64' | 'F32' | 'F16' | 'BF16' | 'I32' | 'BOOL'),
  shape: readonly number[],
  values: readonly number[],
): TensorToWrite {
  const bytes = {
    F64: () => new Uint8Array(Float64Array.from(values).buffer),
    F32: () => new Uint8Array(Float32Array.from(values).buffer),
    F16: () => new Uint8Array(Float16Array.from(values).buffer),
    BF16: () => bf16Bytes(values),
    I32: () => new Uint8Array(Int32Array.from(values).buffer),
    BOOL: () => Uint8Array.from(values),
  };
  return { dtype, shape, data: bytes[dtype]() };
}

/** All tensors of a checkpoint, as they are stored. */
export async function readTensors(path: string): Promise<Tensors> {
  const checkpoint = await Checkpoint.open(path);
  try {
    const tensors: Tensors = new Map();
    for (const [name, { dtype, shape }] of checkpoint.entries) {
      tensors.set(name, { dtype, shape, data: await checkpoint.readBytes(name) });
    }
    return tensors;
  } finally {
    await checkpoint.close();
  }
}

/** A temporary folder for the tests of one file, and checkpoints in it: made before them, removed after them. */
export class CheckpointFolder {
  path = '';
  #count = 0;

  constructor() {
    beforeAll(async () => {
      this.path = await mkdtemp(join(tmpdir(), 'checkpoints-'));
    });
    afterAll(() => rm(this.path, { recursive: true }));
  }

  /** The path of a new .safetensors file with these tensors. */
  async file(tensors: ReadonlyMap<string, TensorToWrite>): Promise<string> {
    const path = join(this.path, `${this.#count++}.safetensors`);
    await writeSafetensors(path, tensors);
    return path;
  }

  /** The path of a new folder with one file of these tensors and this config.json. */
  async folder(tensors: ReadonlyMap<string, TensorToWrite>, config: Json): Promise<string> {
    const path = join(this.path, `${this.#count++}`);
    await mkdir(path);
    await writeSafetensors(join(path, 'model.safetensors'), tensors);
    await writeFile(join(path, 'config.json'), JSON.stringify(config));
    return path;
  }

  /** The path of a new folder like an existing checkpoint's, in which its tensors and its config.json are changed. */
  async variant(
    original: string,
    change: (tensors: Tensors, config: Json) => { tensors: Tensors; config: Json },
  ): Promise<string> {
    const json = JSON.parse(await readFile(join(original, 'config.json'), 'utf8')) as Json;
    const { tensors, config } = change(await readTensors(original), json);
    const path = await this.folder(tensors, config);
    const isWeights = (name: string) => name.includes('.safetensors') || name === 'config.json';
    for (const entry of await readdir(original, { withFileTypes: true })) {
      if (entry.isFile() && !isWeights(entry.name)) await copyFile(join(original, entry.name), join(path, entry.name));
    }
    return path;
  }
}

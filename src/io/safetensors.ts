import { read } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { InputError } from './errors.ts';
import { toFloat32, toInt32 } from './safetensors_convert.ts';
import {
  LENGTH_BYTES,
  parseHeader,
  parseHeaderLength,
  SAFETENSORS_BYTES,
  type SafetensorsDtype,
  type SafetensorsHeader,
  type TensorEntry,
} from './safetensors_header.ts';
import { findWeights, unreadable, type WeightFiles } from './safetensors_index.ts';
import { show } from './strict_json.ts';

export { SAFETENSORS_BYTES, type SafetensorsDtype, type TensorEntry, toFloat32 };

/** One read of a converted tensor. A multiple of every element size. */
const CHUNK_BYTES = 4 << 20;

/** `FileHandle.read` has V8 collect garbage twice a call where the target is memory mapped from the GPU, which took two thirds of the time of reading. This does not. */
const readAt = promisify(read);

/** The operating system reads at most 2^31 - 1 bytes at once. */
const MAX_READ_BYTES = 1 << 30;

/**
 * An open safetensors checkpoint, one file or sharded. Opening reads and checks the headers only; tensor bytes are read
 * when asked for, at their position, so host memory never holds more than the tensor asked for. Close it after use.
 */
export class Checkpoint {
  /** The file or folder that was opened. */
  readonly path: string;
  /** Every tensor by name, file after file, in the order of the bytes. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
  /** The `__metadata__` of all files together; of equal keys the last file's value. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly #handles: ReadonlyMap<string, FileHandle>;

  private constructor(path: string, headers: readonly SafetensorsHeader[], handles: ReadonlyMap<string, FileHandle>) {
    this.path = path;
    this.entries = mergeEntries(headers);
    this.metadata = Object.assign(Object.create(null), ...headers.map((header) => header.metadata));
    this.#handles = handles;
  }

  /**
   * Opens a .safetensors file, or a folder that holds model.safetensors.index.json with its shards, model.safetensors, or
   * exactly one *.safetensors. A tensor that a shard holds beyond the index is part of the checkpoint. InputError, in one
   * sentence, for whatever is not as the format wants it.
   */
  static async open(path: string): Promise<Checkpoint> {
    const weights = await locate(path);
    const handles = new Map<string, FileHandle>();
    try {
      const headers: SafetensorsHeader[] = [];
      for (const file of weights.files) {
        const { handle, size } = await openFile(file);
        handles.set(file, handle);
        headers.push(await readHeader(handle, size, file));
      }
      const checkpoint = new Checkpoint(path, headers, handles);
      checkAgainstIndex(weights, checkpoint.entries);
      return checkpoint;
    } catch (error) {
      await closeAll(handles);
      throw error;
    }
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  /** The entry of a tensor; InputError when the checkpoint has none of that name. */
  entry(name: string): TensorEntry {
    const entry = this.entries.get(name);
    if (entry === undefined) {
      throw new InputError(
        `${this.path}: expected a tensor named ${show(name)}, found none among its ${this.entries.size} tensors.`,
      );
    }
    return entry;
  }

  /** Reads `target.length` bytes from byte `start` of the tensor straight into `target`. RangeError beyond its end. */
  async read(entry: TensorEntry, target: Uint8Array, start = 0): Promise<void> {
    const handle = this.#handles.get(entry.file);
    if (handle === undefined) throw new RangeError(`${entry.file} is not a file of ${this.path}`);
    if (!Number.isSafeInteger(start) || start < 0 || start + target.length > entry.byteLength) {
      throw new RangeError(
        `bytes ${start} to ${start + target.length} of tensor ${show(entry.name)} of ${entry.byteLength} bytes`,
      );
    }
    await readFully(handle, target, entry.offset + start, entry.file);
  }

  /** The tensor's bytes as stored. */
  async readBytes(name: string): Promise<Uint8Array> {
    const entry = this.entry(name);
    const bytes = new Uint8Array(entry.byteLength);
    await this.read(entry, bytes);
    return bytes;
  }

  /** The tensor, of any dtype, as float32 (see {@link toFloat32} for what is exact). */
  async readFloat32(name: string): Promise<Float32Array> {
    const entry = this.entry(name);
    const values = new Float32Array(entry.byteLength / SAFETENSORS_BYTES[entry.dtype]);
    if (entry.dtype === 'F32') {
      await this.read(entry, new Uint8Array(values.buffer));
      return values;
    }
    for await (const { bytes, first } of this.#chunks(entry)) values.set(toFloat32(bytes, entry.dtype), first);
    return values;
  }

  /** The tensor, of any integer dtype or BOOL, as int32; InputError for a floating dtype or a value beyond 32 bits. */
  async readInt32(name: string): Promise<Int32Array> {
    const entry = this.entry(name);
    if (entry.dtype.includes('F')) {
      throw new InputError(`${this.path}: expected integers in tensor ${show(name)}, found dtype ${entry.dtype}.`);
    }
    const values = new Int32Array(entry.byteLength / SAFETENSORS_BYTES[entry.dtype]);
    for await (const { bytes, first } of this.#chunks(entry)) {
      const converted = toInt32(bytes, entry.dtype);
      if (converted.misfit !== undefined) {
        throw new InputError(
          `${this.path}: expected 32-bit integers in tensor ${show(name)}, found ${converted.misfit}.`,
        );
      }
      values.set(converted.values, first);
    }
    return values;
  }

  /** Closes the files; nothing can be read afterwards. */
  async close(): Promise<void> {
    await closeAll(this.#handles);
  }

  /** The tensor's bytes in pieces, each with the index of its first element; the piece is overwritten by the next. */
  async *#chunks(entry: TensorEntry): AsyncGenerator<{ bytes: Uint8Array; first: number }> {
    const buffer = new Uint8Array(Math.min(CHUNK_BYTES, entry.byteLength));
    for (let start = 0; start < entry.byteLength; start += buffer.length) {
      const bytes = buffer.subarray(0, entry.byteLength - start);
      await this.read(entry, bytes, start);
      yield { bytes, first: start / SAFETENSORS_BYTES[entry.dtype] };
    }
  }
}

async function locate(path: string): Promise<WeightFiles> {
  const info = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (info.isDirectory()) {
    const weights = await findWeights(path);
    if (weights === undefined) {
      throw new InputError(
        `${path}: expected a folder with model.safetensors or model.safetensors.index.json, found no safetensors file.`,
      );
    }
    return weights;
  }
  if (!info.isFile() || !path.endsWith('.safetensors')) {
    throw new InputError(
      `${path}: expected a .safetensors file or a folder, found ${info.isFile() ? 'another kind of file' : 'neither'}.`,
    );
  }
  return { files: [path] };
}

async function openFile(file: string): Promise<{ handle: FileHandle; size: number }> {
  try {
    // Asked before opening: opening a pipe would wait for a writer.
    const info = await stat(file);
    if (!info.isFile()) throw new InputError(`${file}: expected a file, found something else.`);
    const handle = await open(file, 'r');
    return { handle, size: info.size };
  } catch (error) {
    throw error instanceof InputError ? error : unreadable(file, error);
  }
}

async function readHeader(handle: FileHandle, size: number, file: string): Promise<SafetensorsHeader> {
  if (size < LENGTH_BYTES) {
    throw new InputError(`${file}: expected at least the ${LENGTH_BYTES} bytes of a header length, found ${size}.`);
  }
  const prefix = new Uint8Array(LENGTH_BYTES);
  await readFully(handle, prefix, 0, file);
  const header = new Uint8Array(parseHeaderLength(prefix, size, file));
  await readFully(handle, header, LENGTH_BYTES, file);
  return parseHeader(header, size, file);
}

async function readFully(handle: FileHandle, target: Uint8Array, position: number, file: string): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const length = Math.min(target.length - done, MAX_READ_BYTES);
    const { bytesRead } = await readAt(handle.fd, target, done, length, position + done);
    if (bytesRead === 0) {
      throw new InputError(
        `${file}: expected ${target.length} bytes at ${position}, found ${done} (the file was cut off after it was opened).`,
      );
    }
    done += bytesRead;
  }
}

function mergeEntries(headers: readonly SafetensorsHeader[]): Map<string, TensorEntry> {
  const entries = new Map<string, TensorEntry>();
  for (const entry of headers.flatMap((header) => header.tensors)) {
    const other = entries.get(entry.name);
    if (other !== undefined) {
      throw new InputError(
        `${entry.file}: expected tensor ${show(entry.name)} in one file only, found it in ${other.file} too.`,
      );
    }
    entries.set(entry.name, entry);
  }
  return entries;
}

function checkAgainstIndex({ weightMap }: WeightFiles, entries: ReadonlyMap<string, TensorEntry>): void {
  for (const [name, file] of weightMap ?? []) {
    const found = entries.get(name)?.file;
    if (found !== file) {
      throw new InputError(
        `${file}: expected tensor ${show(name)} as the index says, found ${found === undefined ? 'no such tensor' : `it in ${found}`}.`,
      );
    }
  }
}

async function closeAll(handles: ReadonlyMap<string, FileHandle>): Promise<void> {
  await Promise.all([...handles.values()].map((handle) => handle.close()));
}

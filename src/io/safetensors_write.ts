import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { InputError } from './errors.ts';
import { SAFETENSORS_BYTES, type SafetensorsDtype, shapeBytes } from './safetensors_header.ts';

/** One tensor to write: `data` holds its elements little-endian and row-major. */
export interface TensorToWrite {
  dtype: SafetensorsDtype;
  shape: readonly number[];
  data: Uint8Array;
}

/**
 * Writes a safetensors file: into a temporary file beside `path`, which takes its name once it is complete. Tensors are
 * laid out by element size, largest first, then by name, so that each is aligned to its elements. RangeError when a
 * tensor's data does not fit its shape; InputError when the place cannot be written to.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata?: Record<string, string>,
): Promise<void> {
  const ordered = [...tensors].sort(
    ([a, { dtype: dtypeA }], [b, { dtype: dtypeB }]) =>
      SAFETENSORS_BYTES[dtypeB] - SAFETENSORS_BYTES[dtypeA] || (a < b ? -1 : 1),
  );
  const header = encodeHeader(ordered, metadata);
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const handle = await open(temporary, 'wx').catch((error: NodeJS.ErrnoException) => {
      throw new InputError(`${path}: expected a place where a file can be written, found ${error.code}.`);
    });
    try {
      await handle.writeFile(header);
      for (const [, { data }] of ordered) await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function encodeHeader(
  tensors: readonly (readonly [string, TensorToWrite])[],
  metadata: Record<string, string> | undefined,
): Uint8Array {
  // No prototype: a tensor called __proto__ is written like any other.
  const header: Record<string, unknown> = Object.create(null);
  if (metadata !== undefined) header.__metadata__ = metadata;
  let end = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    if (name === '__metadata__') throw new RangeError('a tensor cannot be named __metadata__');
    if (data.length !== shapeBytes(shape, dtype)) {
      throw new RangeError(`${name}: ${data.length} bytes for shape [${shape.join(', ')}] of ${dtype}`);
    }
    header[name] = { dtype, shape, data_offsets: [end, end + data.length] };
    end += data.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20, 8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  return bytes;
}

import { InputError } from './errors.ts';
import { parseStrictJson, show } from './strict_json.ts';

/** Element types of a safetensors file that this reader knows. */
export type SafetensorsDtype =
  | 'F64'
  | 'F32'
  | 'F16'
  | 'BF16'
  | 'I64'
  | 'I32'
  | 'I16'
  | 'I8'
  | 'U64'
  | 'U32'
  | 'U16'
  | 'U8'
  | 'BOOL';

/** Bytes of one element. */
export const SAFETENSORS_BYTES: Record<SafetensorsDtype, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** Where one tensor lies: `byteLength` bytes from byte `offset` (absolute) of `file`, row-major and little-endian. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** What the header of one file says. `tensors` are in the order of their bytes. */
export interface SafetensorsHeader {
  readonly tensors: readonly TensorEntry[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** The 8 bytes before the header: its length as a little-endian u64. */
export const LENGTH_BYTES = 8;

/** The largest header accepted; the format's own library has the same limit. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Reads the length of the header from the first 8 bytes of a file of `fileSize` bytes; InputError when it cannot be. */
export function parseHeaderLength(prefix: Uint8Array, fileSize: number, file: string): number {
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset, LENGTH_BYTES).getBigUint64(0, true));
  const available = fileSize - LENGTH_BYTES;
  if (length > available) {
    throw new InputError(
      `${file}: expected a header inside the file, found a header length of ${length} bytes with ${available} bytes left (a cut-off file, or not a safetensors file).`,
    );
  }
  if (length > MAX_HEADER_BYTES) {
    throw new InputError(`${file}: expected a header of at most ${MAX_HEADER_BYTES} bytes, found ${length}.`);
  }
  return length;
}

/**
 * Parses and checks a header (the bytes after the length) of a file of `fileSize` bytes. Refuses with InputError what the
 * format forbids: duplicate keys, sizes that do not match, overlaps, holes and bytes that belong to no tensor.
 */
export function parseHeader(bytes: Uint8Array, fileSize: number, file: string): SafetensorsHeader {
  // The format wants `{` as the first byte: this also keeps out a byte order mark.
  if (bytes[0] !== 0x7b) {
    throw new InputError(`${file}: expected a header that begins with "{", found ${firstByte(bytes)}.`);
  }
  const entries = Object.entries(parseStrictJson(bytes, `${file}: header`));
  const dataStart = LENGTH_BYTES + bytes.length;
  const tensors = entries
    .filter(([name]) => name !== '__metadata__')
    .map(([name, info]) => parseTensor(name, info, dataStart, fileSize, file))
    // At equal offsets the empty tensor comes first, so that it sits between its neighbours instead of inside one.
    .sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  checkTiling(tensors, dataStart, fileSize, file);
  const metadata = entries.find(([name]) => name === '__metadata__');
  return { tensors, metadata: metadata === undefined ? {} : parseMetadata(metadata[1], file) };
}

function firstByte(bytes: Uint8Array): string {
  return bytes[0] === undefined ? 'an empty header' : `byte 0x${bytes[0].toString(16).padStart(2, '0')}`;
}

function parseTensor(name: string, info: unknown, dataStart: number, fileSize: number, file: string): TensorEntry {
  const what = `${file}: tensor ${show(name)}`;
  if (!isObject(info)) {
    throw new InputError(`${what}: expected an object with dtype, shape and data_offsets, found ${show(info)}.`);
  }
  const dtype = parseDtype(info.dtype, what);
  const shape = info.shape;
  if (!isSizes(shape)) {
    throw new InputError(`${what}: expected a shape of non-negative integers, found ${show(shape)}.`);
  }
  const byteLength = shapeBytes(shape, dtype);
  if (byteLength === undefined) {
    throw new InputError(`${what}: expected a size below 2^53 bytes, found shape ${show(shape)} of ${dtype}.`);
  }
  const offsets = info.data_offsets;
  const dataLength = fileSize - dataStart;
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw new InputError(`${what}: expected data_offsets [begin, end], found ${show(offsets)}.`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataLength) {
    throw new InputError(
      `${what}: expected data_offsets within the file's ${dataLength} bytes of data, found ${show(offsets)}.`,
    );
  }
  if (end - begin !== byteLength) {
    throw new InputError(
      `${what}: expected ${byteLength} bytes for shape ${show(shape)} of ${dtype}, found data_offsets ${show(offsets)} (${end - begin} bytes).`,
    );
  }
  return { name, dtype, shape, file, offset: dataStart + begin, byteLength };
}

function parseDtype(dtype: unknown, what: string): SafetensorsDtype {
  // hasOwn: a dtype called "constructor" must not find Object.prototype.
  if (typeof dtype === 'string' && Object.hasOwn(SAFETENSORS_BYTES, dtype)) return dtype as SafetensorsDtype;
  const known = Object.keys(SAFETENSORS_BYTES).join(', ');
  // F4, F6_E2M3, F8_E4M3, F8_E8M0, C64, ...: real types of the format that nothing here computes with.
  const foreign = typeof dtype === 'string' && /^(F4|F6|F8|C64|C128)(_\w+)?$/.test(dtype);
  throw new InputError(
    foreign
      ? `${what}: dtype ${show(dtype)} is not supported, expected one of ${known}.`
      : `${what}: expected a dtype among ${known}, found ${show(dtype)}.`,
  );
}

/** Bytes of a tensor, or undefined when they are too many to count exactly. */
export function shapeBytes(shape: readonly number[], dtype: SafetensorsDtype): number | undefined {
  let bytes = SAFETENSORS_BYTES[dtype];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

/** The format forbids holes: sorted by offset, every tensor begins where the one before ended, the last ends the file. */
function checkTiling(tensors: readonly TensorEntry[], dataStart: number, fileSize: number, file: string): void {
  let end = dataStart;
  let previous = 'the header';
  for (const tensor of tensors) {
    if (tensor.offset !== end) {
      const gap = tensor.offset - end;
      throw new InputError(
        `${file}: expected tensor ${show(tensor.name)} to begin where ${previous} ends, found ${gap > 0 ? `a gap of ${gap}` : `an overlap of ${-gap}`} bytes.`,
      );
    }
    end += tensor.byteLength;
    previous = `tensor ${show(tensor.name)}`;
  }
  if (end !== fileSize) {
    throw new InputError(
      `${file}: expected the file to end after ${previous}, found ${fileSize - end} more bytes that belong to no tensor.`,
    );
  }
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  if (!isObject(value)) {
    throw new InputError(`${file}: expected __metadata__ to be an object of strings, found ${show(value)}.`);
  }
  // No prototype: a key called __proto__ is a key like any other.
  const metadata: Record<string, string> = Object.create(null);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') {
      throw new InputError(`${file}: expected a string at __metadata__ key ${show(key)}, found ${show(text)}.`);
    }
    metadata[key] = text;
  }
  return metadata;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0 && !Object.is(size, -0));
}

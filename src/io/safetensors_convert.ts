import { getFloat16 } from '@petamoriken/float16';
import { SAFETENSORS_BYTES, type SafetensorsDtype } from './safetensors_header.ts';

/**
 * Converts the little-endian bytes of a tensor to float32 in new memory, at any byte alignment. BF16, F16, BOOL (0 or 1)
 * and integers up to 24 bits are exact, F64 and wider integers are rounded to nearest. RangeError when the bytes are not
 * whole elements.
 */
export function toFloat32(bytes: Uint8Array, dtype: SafetensorsDtype): Float32Array {
  const buffer = alignedCopy(bytes, dtype);
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'BF16':
      return widenBf16(new Uint16Array(buffer));
    case 'F16':
      return widenF16(new Uint16Array(buffer));
    default: {
      const numbers = numbersOf(buffer, dtype);
      return isBig(numbers) ? Float32Array.from(numbers, Number) : new Float32Array(numbers);
    }
  }
}

/**
 * Converts the little-endian bytes of an integer or BOOL tensor to int32. The second result is the first value that does
 * not fit, if any. RangeError for a floating dtype.
 */
export function toInt32(bytes: Uint8Array, dtype: SafetensorsDtype): { values: Int32Array; misfit?: number | bigint } {
  const numbers = numbersOf(alignedCopy(bytes, dtype), dtype);
  if (numbers instanceof Float64Array) throw new RangeError(`expected an integer dtype, found ${dtype}`);
  const misfit = numbers.find((value: number | bigint) => value < -(2 ** 31) || value >= 2 ** 31);
  const values = isBig(numbers) ? Int32Array.from(numbers, Number) : new Int32Array(numbers);
  return misfit === undefined ? { values } : { values, misfit };
}

type Numbers =
  | Float64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint32Array
  | Uint16Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;

function numbersOf(buffer: ArrayBuffer, dtype: SafetensorsDtype): Numbers {
  switch (dtype) {
    case 'F64':
      return new Float64Array(buffer);
    case 'I64':
      return new BigInt64Array(buffer);
    case 'I32':
      return new Int32Array(buffer);
    case 'I16':
      return new Int16Array(buffer);
    case 'I8':
      return new Int8Array(buffer);
    case 'U64':
      return new BigUint64Array(buffer);
    case 'U32':
      return new Uint32Array(buffer);
    case 'U16':
      return new Uint16Array(buffer);
    case 'U8':
      return new Uint8Array(buffer);
    case 'BOOL':
      return new Uint8Array(buffer).map((byte) => (byte === 0 ? 0 : 1));
    default:
      throw new RangeError(`expected an integer dtype, found ${dtype}`);
  }
}

function isBig(numbers: Numbers): numbers is BigInt64Array | BigUint64Array {
  return numbers instanceof BigInt64Array || numbers instanceof BigUint64Array;
}

/** Typed arrays need aligned memory and a tensor may begin at any byte; a copy begins at 0. */
function alignedCopy(bytes: Uint8Array, dtype: SafetensorsDtype): ArrayBuffer {
  if (bytes.length % SAFETENSORS_BYTES[dtype] !== 0) {
    throw new RangeError(`expected whole elements of ${dtype}, found ${bytes.length} bytes`);
  }
  return new Uint8Array(bytes).buffer;
}

/** A bf16 is the upper half of a float32. */
function widenBf16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

let f16Values: Float32Array | undefined;

/** There are only 65536 halves: a table of them, made once, is much faster than converting each element. */
function widenF16(halves: Uint16Array): Float32Array {
  f16Values ??= makeF16Values();
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) values[i] = f16Values[halves[i]!]!;
  return values;
}

function makeF16Values(): Float32Array {
  const view = new DataView(new ArrayBuffer(2));
  return Float32Array.from({ length: 1 << 16 }, (_, bits) => {
    view.setUint16(0, bits);
    return getFloat16(view, 0);
  });
}

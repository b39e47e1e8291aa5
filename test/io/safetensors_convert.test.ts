import { describe, expect, test } from 'vitest';
import { type SafetensorsDtype, toFloat32 } from '../../src/io/safetensors.ts';

describe('conversions', () => {
  // Expected numbers: NumPy's astype(float32).
  test.each<[SafetensorsDtype, ArrayBufferView, number[]]>([
    [
      'F16',
      Uint16Array.of(0, 0x8000, 1, 0x3ff, 0x400, 0x3555, 0x3c00, 0xc000, 0x7bff, 0x7c00, 0xfc00, 0x7e00),
      [0, -0, 2 ** -24, 6.097555160522461e-5, 6.103515625e-5, 0.333251953125, 1, -2, 65504, Infinity, -Infinity, NaN],
    ],
    [
      'BF16',
      Uint16Array.of(0, 0x8000, 1, 0x80, 0x3eab, 0x3f80, 0xc000, 0x7f7f, 0x7f80, 0xff80, 0x7fc0),
      [
        0,
        -0,
        9.183549615799121e-41,
        1.1754943508222875e-38,
        0.333984375,
        1,
        -2,
        3.3895313892515355e38,
        Infinity,
        -Infinity,
        NaN,
      ],
    ],
    ['F32', Float32Array.of(-0, 1e-45, 16777217), [-0, 1.401298464324817e-45, 16777216]],
    ['F64', Float64Array.of(0.1, 1e300, -1e-50, 16777217), [0.10000000149011612, Infinity, -0, 16777216]],
    ['I64', BigInt64Array.of(2n ** 53n + 1n, -3n, 2n ** 62n), [9007199254740992, -3, 4.611686018427388e18]],
    ['U64', BigUint64Array.of(0n, 2n ** 64n - 1n), [0, 18446744073709552000]],
    ['I32', Int32Array.of(-(2 ** 31), 7), [-2147483648, 7]],
    ['U32', Uint32Array.of(2 ** 32 - 1, 7), [4294967296, 7]],
    ['I16', Int16Array.of(-32768, 7), [-32768, 7]],
    ['U16', Uint16Array.of(65535, 7), [65535, 7]],
    ['I8', Int8Array.of(-128, 7), [-128, 7]],
    ['U8', Uint8Array.of(255, 7), [255, 7]],
    ['BOOL', Uint8Array.of(0, 1), [0, 1]],
  ])('%s to float32, at every byte alignment', (dtype, source, expected) => {
    const bytes = new Uint8Array(source.buffer);
    for (let shift = 0; shift < 8; shift++) {
      const memory = new Uint8Array(bytes.length + shift);
      memory.set(bytes, shift);
      expect([...toFloat32(memory.subarray(shift), dtype)]).toEqual(expected);
    }
  });

  test('all finite bf16 and f16 are exact', () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const bytes = new Uint8Array(halves.buffer);
    const value = (bits: number, exponentBits: number) => {
      const fractionBits = 15 - exponentBits;
      const bias = 2 ** (exponentBits - 1) - 1;
      const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1);
      const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
      const magnitude = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias);
      return bits >= 0x8000 ? -magnitude : magnitude;
    };
    for (const [dtype, exponentBits] of [
      ['BF16', 8],
      ['F16', 5],
    ] as const) {
      const values = toFloat32(bytes, dtype);
      const wrong = [...halves].filter(
        (i) => Number.isFinite(values[i]) && !Object.is(values[i], value(i, exponentBits)),
      );
      expect(wrong).toEqual([]);
      expect(values.filter(Number.isFinite).length).toBe(65536 - 2 ** (16 - exponentBits));
    }
  });

  test('a converted copy shares no memory with its source', () => {
    const source = Buffer.from(Float32Array.of(1, 2).buffer);
    const values = toFloat32(source, 'F32');
    source.fill(0);
    expect([...values]).toEqual([1, 2]);
  });

  test('half an element is a RangeError', () => {
    expect(() => toFloat32(new Uint8Array(3), 'BF16')).toThrow(RangeError);
  });
});

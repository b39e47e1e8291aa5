/** Rounds the header up so that the values start at a multiple of this. */
const ALIGNMENT = 64;

/** Values of a C-ordered array as a NumPy file (format version 1.0, little-endian float32). */
export function npyBytes(values: Float32Array, shape: readonly number[]): Buffer {
  const dimensions = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const fields = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dimensions}), }`;
  const prefix = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
  const length = Math.ceil((prefix.length + fields.length + 1) / ALIGNMENT) * ALIGNMENT - prefix.length;
  prefix.writeUInt16LE(length, 8);
  const header = Buffer.from(`${fields.padEnd(length - 1)}\n`, 'latin1');
  return Buffer.concat([prefix, header, Buffer.from(values.buffer, values.byteOffset, values.byteLength)]);
}

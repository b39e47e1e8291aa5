import { open } from 'node:fs/promises';
import type { Cloud } from './cloud.ts';

/** x, y, z and confidence as float, red, green and blue as bytes. */
const POINT_BYTES = 19;
/** Points encoded at once. */
const CHUNK = 1 << 18;

/** Writes a cloud as a binary PLY file: positions, sRGB colours and confidences. */
export async function writePly(path: string, cloud: Cloud): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(header(cloud.count), 'latin1');
    for (let first = 0; first < cloud.count; first += CHUNK) await file.writeFile(encoded(cloud, first, CHUNK));
  } finally {
    await file.close();
  }
}

function header(count: number): string {
  const floats = (names: string) => names.split(' ').map((name) => `property float ${name}`);
  const bytes = (names: string) => names.split(' ').map((name) => `property uchar ${name}`);
  const lines = [
    'ply',
    'format binary_little_endian 1.0',
    'comment VGGT: world of the first camera, x right, y down, z forward',
    `element vertex ${count}`,
    ...floats('x y z'),
    ...bytes('red green blue'),
    ...floats('confidence'),
    'end_header',
  ];
  return `${lines.join('\n')}\n`;
}

function encoded({ count, positions, colours, confidence }: Cloud, first: number, most: number): Buffer {
  const bytes = Buffer.alloc(Math.min(most, count - first) * POINT_BYTES);
  for (let at = 0, i = first; at < bytes.length; at += POINT_BYTES, i++) {
    for (let c = 0; c < 3; c++) {
      bytes.writeFloatLE(positions[3 * i + c]!, at + 4 * c);
      bytes[at + 12 + c] = colours[3 * i + c]!;
    }
    bytes.writeFloatLE(confidence[i]!, at + 15);
  }
  return bytes;
}

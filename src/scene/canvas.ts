import type { RgbImage } from '../io/image.ts';
import type { Rgb } from './colours.ts';

/** A place in a picture; whole numbers are the centres of pixels. */
export type Point = readonly [x: number, y: number];

/** Rows of 5 bits, from top to bottom, of the characters that numbers consist of. */
const GLYPHS: Record<string, readonly number[]> = {
  '0': [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
  '1': [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
  '2': [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
  '3': [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
  '4': [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
  '5': [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
  '6': [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
  '7': [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
  '8': [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
  '9': [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
  '.': [0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c],
  e: [0x00, 0x00, 0x0e, 0x11, 0x1f, 0x10, 0x0e],
  '+': [0x00, 0x04, 0x04, 0x1f, 0x04, 0x04, 0x00],
  '-': [0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00],
};
const GLYPH_COLUMNS = 5;
const GLYPH_ROWS = 7;

/** Width and height of a number written with `drawNumber`, in pixels. */
export function numberSize(text: string, scale: number): [width: number, height: number] {
  return [text.length * (GLYPH_COLUMNS + 1) * scale - scale, GLYPH_ROWS * scale];
}

/** A picture to draw on, of one colour. */
export function blankImage(width: number, height: number, [r, g, b]: Rgb): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i += 3) data.set([r, g, b], i);
  return { width, height, data };
}

export function copyImage({ width, height, data }: RgbImage): RgbImage {
  return { width, height, data: data.slice() };
}

/** Copies a whole picture into another, its top left corner at (left, top), where it must fit. */
export function drawImage(target: RgbImage, source: RgbImage, left: number, top: number): void {
  for (let y = 0; y < source.height; y++) {
    const row = source.data.subarray(y * source.width * 3, (y + 1) * source.width * 3);
    target.data.set(row, ((top + y) * target.width + left) * 3);
  }
}

export function fillRectangle(
  image: RgbImage,
  left: number,
  top: number,
  width: number,
  height: number,
  colour: Rgb,
): void {
  for (let y = Math.max(0, top); y < Math.min(image.height, top + height); y++) {
    for (let x = Math.max(0, left); x < Math.min(image.width, left + width); x++) {
      image.data.set(colour, (y * image.width + x) * 3);
    }
  }
}

/** Draws a line with round ends, smooth at its edges; a line from a point to itself is a disc. */
export function drawLine(image: RgbImage, a: Point, b: Point, width: number, colour: Rgb, opacity = 1): void {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length2 = dx * dx + dy * dy;
  paint(image, [a, b], width / 2, colour, opacity, (x, y) => {
    const along = length2 === 0 ? 0 : Math.min(Math.max(((x - a[0]) * dx + (y - a[1]) * dy) / length2, 0), 1);
    return Math.hypot(x - a[0] - along * dx, y - a[1] - along * dy) - width / 2;
  });
}

/** Draws a circle's outline. */
export function drawRing(image: RgbImage, centre: Point, radius: number, width: number, colour: Rgb): void {
  paint(image, [centre], radius + width / 2, colour, 1, (x, y) => {
    return Math.abs(Math.hypot(x - centre[0], y - centre[1]) - radius) - width / 2;
  });
}

/** Writes a number, its top left corner at (left, top). */
export function drawNumber(image: RgbImage, text: string, [left, top]: Point, scale: number, colour: Rgb): void {
  [...text].forEach((character, n) => {
    GLYPHS[character]?.forEach((bits, row) => {
      for (let column = 0; column < GLYPH_COLUMNS; column++) {
        if (((bits >> (GLYPH_COLUMNS - 1 - column)) & 1) === 0) continue;
        const x = left + (n * (GLYPH_COLUMNS + 1) + column) * scale;
        fillRectangle(image, x, top + row * scale, scale, scale, colour);
      }
    });
  });
}

/** Mixes a colour into the pixels around some points that lie within `distance` <= 0 of a shape, half at its edge. */
function paint(
  { width, height, data }: RgbImage,
  points: readonly Point[],
  margin: number,
  colour: Rgb,
  opacity: number,
  distance: (x: number, y: number) => number,
): void {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const bound = (value: number, size: number) => Math.min(Math.max(Math.round(value), 0), size - 1);
  const [left, right] = [bound(Math.min(...xs) - margin - 1, width), bound(Math.max(...xs) + margin + 1, width)];
  const [top, bottom] = [bound(Math.min(...ys) - margin - 1, height), bound(Math.max(...ys) + margin + 1, height)];
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const cover = opacity * Math.min(Math.max(0.5 - distance(x, y), 0), 1);
      if (cover === 0) continue;
      const at = (y * width + x) * 3;
      for (let c = 0; c < 3; c++) data[at + c] = Math.round(data[at + c]! * (1 - cover) + colour[c]! * cover);
    }
  }
}

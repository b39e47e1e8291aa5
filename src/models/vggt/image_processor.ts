/** Pictures as VGGT sees them: 518 pixels wide, sides multiples of its 14-pixel patch (`load_and_preprocess_images`). */
import { InputError } from '../../io/errors.ts';
import type { RgbImage } from '../../io/image.ts';
import { resizeBicubic } from '../../io/resample.ts';
import { roundHalfEven } from '../../io/round.ts';

const PATCH = 14;
const WHITE = 255;

/**
 * Mode "crop": every picture becomes `targetWidth` wide; what is then taller than wide loses its top and bottom equally. Pictures that still
 * differ in height are centred on white. Throws InputError for a picture so flat that no row of patches remains.
 */
export function preprocessCrop(images: readonly RgbImage[], targetWidth = 518): RgbImage[] {
  const cropped = images.map((image) => {
    const resized = resizeBicubic(image, targetWidth, patchMultiple(image.height, image.width, image, targetWidth));
    return resized.height > targetWidth ? cropRows(resized, targetWidth) : resized;
  });
  return padToLargest(cropped);
}

/**
 * Mode "pad": the longer side of every picture becomes `target`, and white on both sides of the shorter one makes a square.
 * Throws InputError for a picture so narrow that no row or column of patches remains.
 */
export function preprocessPad(images: readonly RgbImage[], target = 518): RgbImage[] {
  return images.map((image) => {
    const { width, height } = image;
    const resized =
      width >= height
        ? resizeBicubic(image, target, patchMultiple(height, width, image, target))
        : resizeBicubic(image, patchMultiple(width, height, image, target), target);
    return centreOnWhite(resized, target, target);
  });
}

/** `side` scaled as `other` is scaled to `target`, rounded to whole patches; evaluated in the original's order. */
function patchMultiple(side: number, other: number, image: RgbImage, target: number): number {
  const result = roundHalfEven((side * (target / other)) / PATCH) * PATCH;
  if (result > 0) return result;
  throw new InputError(
    `a picture of ${image.width} x ${image.height} pixels is too elongated; scaled to ${target} pixels, its shorter side must keep at least ${PATCH / 2}.`,
  );
}

function cropRows(image: RgbImage, rows: number): RgbImage {
  const rowBytes = image.width * 3;
  const start = Math.floor((image.height - rows) / 2) * rowBytes;
  return { width: image.width, height: rows, data: image.data.slice(start, start + rows * rowBytes) };
}

/** Centres every picture on a white canvas of the largest height and the largest width among them. */
export function padToLargest(images: readonly RgbImage[]): RgbImage[] {
  const width = Math.max(...images.map((image) => image.width));
  const height = Math.max(...images.map((image) => image.height));
  return images.map((image) => centreOnWhite(image, width, height));
}

/** An odd remainder goes to the bottom and to the right. */
function centreOnWhite(image: RgbImage, width: number, height: number): RgbImage {
  if (image.width === width && image.height === height) return image;
  const data = new Uint8Array(width * height * 3).fill(WHITE);
  const top = Math.floor((height - image.height) / 2);
  const left = Math.floor((width - image.width) / 2);
  const rowBytes = image.width * 3;
  for (let y = 0; y < image.height; y++) {
    data.set(image.data.subarray(y * rowBytes, (y + 1) * rowBytes), ((top + y) * width + left) * 3);
  }
  return { width, height, data };
}

/** Pictures of one size as `data` [S, 3, height, width] in 0..1. Throws InputError if there is none or their sizes differ. */
export function toUnitPlanar(images: readonly RgbImage[]): { data: Float32Array; height: number; width: number } {
  const first = images[0];
  if (!first) throw new InputError('expected at least one picture, found none.');
  const { width, height } = first;
  const odd = images.find((image) => image.width !== width || image.height !== height);
  if (odd) {
    throw new InputError(
      `pictures must have one size, found ${width} x ${height} and ${odd.width} x ${odd.height} pixels.`,
    );
  }
  const plane = width * height;
  const data = new Float32Array(images.length * 3 * plane);
  images.forEach((image, index) => {
    for (let channel = 0; channel < 3; channel++) {
      const to = (index * 3 + channel) * plane;
      for (let i = 0; i < plane; i++) data[to + i] = image.data[i * 3 + channel]! / 255;
    }
  });
  return { data, height, width };
}

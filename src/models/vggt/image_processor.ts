/** Pictures as VGGT sees them: 518 pixels wide, sides multiples of its 14-pixel patch (`load_and_preprocess_images`). */
import { InputError } from '../../io/errors.ts';
import type { RgbImage } from '../../io/image.ts';
import { resizeBicubic } from '../../io/resample.ts';
import { roundHalfEven } from '../../io/round.ts';
import type { FrameImages } from './dinov2.ts';

const PATCH = 14;
const WHITE = 255;

/** How pictures become frames: `crop` cuts off the top and bottom of tall ones, `pad` fills up to a square with white. */
export const FRAME_MODES = ['crop', 'pad'] as const;
export type FrameMode = (typeof FRAME_MODES)[number];

/** Where a frame shows the picture that it was made of. */
export interface FramePlace {
  /** Size of that picture in pixels. */
  readonly source: { readonly width: number; readonly height: number };
  /** Frame pixels per picture pixel, across and down. */
  readonly scale: readonly [x: number, y: number];
  /** The picture's top left corner in the frame's pixels; negative where a part was cut off. */
  readonly corner: readonly [x: number, y: number];
}

/** A picture as VGGT sees it. */
export interface Frame extends RgbImage {
  readonly place: FramePlace;
}

/**
 * One picture as a frame (spec vggt.md section 2); frames of mode "crop" still differ in height where the pictures' shapes do (`padToLargest`).
 * @throws InputError for a picture so elongated that no row or column of patches remains
 */
export function frameOf(image: RgbImage, mode: FrameMode, target = 518): Frame {
  const { width, height } = image;
  if (mode === 'crop') {
    const frame = resized(image, target, patchMultiple(height, width, image, target));
    return frame.height > target ? cropRows(frame, target) : frame;
  }
  const frame =
    width >= height
      ? resized(image, target, patchMultiple(height, width, image, target))
      : resized(image, patchMultiple(width, height, image, target), target);
  return centreOnWhite(frame, target, target);
}

/**
 * Mode "crop": every picture becomes `targetWidth` wide; what is then taller than wide loses its top and bottom equally. Pictures that still
 * differ in height are centred on white. Throws InputError for a picture so flat that no row of patches remains.
 */
export function preprocessCrop(images: readonly RgbImage[], targetWidth = 518): Frame[] {
  return padToLargest(images.map((image) => frameOf(image, 'crop', targetWidth)));
}

/**
 * Mode "pad": the longer side of every picture becomes `target`, and white on both sides of the shorter one makes a square.
 * Throws InputError for a picture so narrow that no row or column of patches remains.
 */
export function preprocessPad(images: readonly RgbImage[], target = 518): Frame[] {
  return images.map((image) => frameOf(image, 'pad', target));
}

/** The part of a frame that shows its picture; the rest is white. */
export function contentOf({ width, height, place }: Frame): {
  left: number;
  top: number;
  right: number;
  bottom: number;
} {
  const { source, scale, corner } = place;
  return {
    left: Math.max(0, Math.round(corner[0])),
    top: Math.max(0, Math.round(corner[1])),
    right: Math.min(width, Math.round(corner[0] + source.width * scale[0])),
    bottom: Math.min(height, Math.round(corner[1] + source.height * scale[1])),
  };
}

/** `side` scaled as `other` is scaled to `target`, rounded to whole patches; evaluated in the original's order. */
function patchMultiple(side: number, other: number, image: RgbImage, target: number): number {
  const result = roundHalfEven((side * (target / other)) / PATCH) * PATCH;
  if (result > 0) return result;
  throw new InputError(
    `a picture of ${image.width} x ${image.height} pixels is too elongated; scaled to ${target} pixels, its shorter side must keep at least ${PATCH / 2}.`,
  );
}

function resized(image: RgbImage, width: number, height: number): Frame {
  const scale = [width / image.width, height / image.height] as const;
  const place = { source: { width: image.width, height: image.height }, scale, corner: [0, 0] as const };
  return { ...resizeBicubic(image, width, height), place };
}

function cropRows({ width, height, data, place }: Frame, rows: number): Frame {
  const start = Math.floor((height - rows) / 2);
  const kept = data.slice(start * width * 3, (start + rows) * width * 3);
  return { width, height: rows, data: kept, place: { ...place, corner: [place.corner[0], place.corner[1] - start] } };
}

/** Centres every picture on a white canvas of the largest height and the largest width among them. */
export function padToLargest<T extends RgbImage>(images: readonly T[]): T[] {
  const width = Math.max(...images.map((image) => image.width));
  const height = Math.max(...images.map((image) => image.height));
  return images.map((image) => centreOnWhite(image, width, height));
}

/** An odd remainder goes to the bottom and to the right. */
function centreOnWhite<T extends RgbImage & Partial<Frame>>(image: T, width: number, height: number): T {
  if (image.width === width && image.height === height) return image;
  const data = new Uint8Array(width * height * 3).fill(WHITE);
  const top = Math.floor((height - image.height) / 2);
  const left = Math.floor((width - image.width) / 2);
  const rowBytes = image.width * 3;
  for (let y = 0; y < image.height; y++) {
    data.set(image.data.subarray(y * rowBytes, (y + 1) * rowBytes), ((top + y) * width + left) * 3);
  }
  const { place } = image;
  const moved = place && { ...place, corner: [place.corner[0] + left, place.corner[1] + top] as const };
  return { ...image, width, height, data, ...(moved && { place: moved }) };
}

/** Pictures of one size as frames for VGGT. Throws InputError if there is none or their sizes differ. */
export function stackFrames(images: readonly RgbImage[]): FrameImages & { data: Uint8Array } {
  const first = images[0];
  if (!first) throw new InputError('expected at least one picture, found none.');
  const { width, height } = first;
  const odd = images.find((image) => image.width !== width || image.height !== height);
  if (odd) {
    throw new InputError(
      `pictures must have one size, found ${width} x ${height} and ${odd.width} x ${odd.height} pixels.`,
    );
  }
  const data = new Uint8Array(images.length * 3 * width * height);
  images.forEach((image, index) => {
    data.set(image.data, index * image.data.length);
  });
  return { data, frames: images.length, height, width };
}

import { InputError } from '../../io/errors.ts';
import type { RgbImage } from '../../io/image.ts';
import { resizeBicubic } from '../../io/resample.ts';
import { padToLargest } from '../vggt/image_processor.ts';

/** Pixels of a VGGT patch. */
const GEOMETRY_PATCH = 14;

/**
 * The pictures for the geometry encoder: each resized so that one of its 14-pixel patches covers what one vision patch of `gridThw`
 * ([1, rows, columns] per picture) covers, then centred on white to the largest size. `images` are those given to the image processor, not
 * what it made of them. Throws InputError if the two lists do not belong together.
 */
export function geometryImages(
  images: readonly RgbImage[],
  gridThw: readonly (readonly [number, number, number])[],
): RgbImage[] {
  if (images.length !== gridThw.length) {
    throw new InputError(`expected one patch grid per picture, found ${gridThw.length} for ${images.length} pictures.`);
  }
  const resized = images.map((image, index) => {
    const [, rows, columns] = gridThw[index]!;
    return resizeBicubic(image, columns * GEOMETRY_PATCH, rows * GEOMETRY_PATCH);
  });
  return padToLargest(resized);
}

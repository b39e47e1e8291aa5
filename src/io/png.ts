import sharp from 'sharp';
import type { RgbImage } from './image.ts';

/** An 8-bit RGB picture as a PNG file. */
export function rgbPng({ width, height, data }: RgbImage): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** A small JPEG file of a picture, at most `side` pixels wide and high. */
export function thumbnailJpeg({ width, height, data }: RgbImage, side: number): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .resize(side, side, { fit: 'inside', withoutEnlargement: true })
    .jpeg({ quality: 80 })
    .toBuffer();
}

/** 16-bit values [height, width] as a grey PNG file. */
export function grey16Png(values: Uint16Array, width: number, height: number): Promise<Buffer> {
  return sharp(values, { raw: { width, height, channels: 1 } })
    .toColourspace('grey16')
    .png()
    .toBuffer();
}

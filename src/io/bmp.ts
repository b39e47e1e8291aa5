import { InputError } from './errors.ts';
import type { RawPixels } from './image.ts';

const BI_RGB = 0;
const BI_BITFIELDS = 3;
/** Header sizes: BITMAPINFOHEADER, the first to have a compression field, and BITMAPV3INFOHEADER, the first with an alpha mask. */
const INFO_HEADER = 40;
const V3_HEADER = 56;

/** Whether the bytes start like a Windows bitmap. */
export function isBmp(bytes: Uint8Array): boolean {
  return bytes[0] === 0x42 && bytes[1] === 0x4d;
}

/**
 * Decodes an uncompressed Windows bitmap of 24 or 32 bits a pixel, stored bottom-up or top-down, to RGB or, if the header names an alpha
 * mask, RGBA (the fourth byte of other 32-bit files means nothing). `name` is the file's in messages.
 * Throws InputError for other bitmaps, for damaged ones and for those of more than `maxPixels`.
 */
export function decodeBmp(bytes: Uint8Array, name: string, maxPixels: number): RawPixels {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerSize = bytes.length >= 18 ? view.getUint32(14, true) : 0;
  if (headerSize < INFO_HEADER || bytes.length < 14 + headerSize) {
    throw new InputError(
      `${name} is a damaged or very old BMP file; expected a header of at least ${INFO_HEADER} bytes.`,
    );
  }
  const pixelOffset = view.getUint32(10, true);
  const width = view.getInt32(18, true);
  const signedHeight = view.getInt32(22, true);
  const bits = view.getUint16(28, true);
  const compression = view.getUint32(30, true);
  const height = Math.abs(signedHeight);

  const isUncompressed = compression === BI_RGB || (compression === BI_BITFIELDS && bits === 32 && hasBgrMasks(view));
  if ((bits !== 24 && bits !== 32) || !isUncompressed) {
    throw new InputError(
      `${name} is a BMP file of ${bits} bits a pixel with compression ${compression}; expected 24 or 32 bits without compression.`,
    );
  }
  if (width <= 0 || height === 0 || width * height > maxPixels) {
    throw new InputError(
      `${name} has ${width} x ${height} pixels; expected at least 1 x 1 and at most ${maxPixels} in all.`,
    );
  }
  const sourceChannels = bits / 8;
  const stride = Math.ceil((width * sourceChannels) / 4) * 4;
  if (pixelOffset + stride * (height - 1) + width * sourceChannels > bytes.length) {
    throw new InputError(
      `${name} is truncated: ${width} x ${height} BMP pixels need ${stride * height} bytes, found ${bytes.length - pixelOffset}.`,
    );
  }

  const hasAlpha = compression === BI_BITFIELDS && headerSize >= V3_HEADER && view.getUint32(66, true) === 0xff000000;
  const channels = hasAlpha ? 4 : 3;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    const row = signedHeight < 0 ? y : height - 1 - y;
    let from = pixelOffset + row * stride;
    for (let x = 0; x < width; x++, from += sourceChannels, to += channels) {
      data[to] = bytes[from + 2]!;
      data[to + 1] = bytes[from + 1]!;
      data[to + 2] = bytes[from]!;
      if (hasAlpha) data[to + 3] = bytes[from + 3]!;
    }
  }
  return { width, height, channels, data };
}

/** Whether the colour masks, which follow the 40 bytes common to all headers, describe the usual byte order B, G, R. */
function hasBgrMasks(view: DataView): boolean {
  if (view.byteLength < 66) return false;
  return (
    view.getUint32(54, true) === 0xff0000 && view.getUint32(58, true) === 0xff00 && view.getUint32(62, true) === 0xff
  );
}

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { decodeBmp, isBmp } from './bmp.ts';
import { InputError } from './errors.ts';

/** A picture in memory: 8-bit RGB, row-major, three bytes a pixel. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Pixels as a decoder delivers them: 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) bytes a pixel. */
export interface RawPixels {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** More pixels than this are refused, as Pillow does (twice its `MAX_IMAGE_PIXELS`). */
const MAX_PIXELS = 178_956_970;
const FORMATS = new Set(['jpeg', 'png', 'webp']);
const SUFFIXES = /\.(jpe?g|png|bmp|webp)$/i;

async function readPicture(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new InputError(`picture ${path} cannot be read: ${(error as Error).message}.`);
  }
}

/** How a picture file becomes pixels. */
export interface DecodeOptions {
  /** `drop` keeps the colour of transparent pixels as stored (Qwen's processor); `white` composites on white (VGGT). */
  readonly alpha?: 'drop' | 'white';
  /**
   * As people see the picture rather than as Pillow's `convert("RGB")` does: turned upright by its EXIF orientation, transparency of every kind on white,
   * 16-bit grey reduced to its high byte instead of clipped.
   */
  readonly asSeen?: boolean;
}

/**
 * Decodes a JPEG, PNG, WebP or BMP file (a path or its bytes) to the pixels that Pillow's `open(...).convert("RGB")` gives: no rotation by
 * EXIF, no colour management, palette and grey expanded, 16-bit colour reduced to its high byte; `options` change that.
 * Throws InputError for a file that is missing, empty, damaged, animated, too large or of another format.
 */
export async function decodeImage(source: string | Uint8Array, options: DecodeOptions = {}): Promise<RgbImage> {
  const name = typeof source === 'string' ? `picture ${source}` : 'the picture';
  const bytes = typeof source === 'string' ? await readPicture(source) : source;
  if (bytes.length === 0) throw new InputError(`${name} is empty; expected a JPEG, PNG, WebP or BMP file.`);
  const asSeen = options.asSeen === true;
  const onWhite = asSeen || options.alpha === 'white';
  if (isBmp(bytes)) return toRgb(decodeBmp(bytes, name, MAX_PIXELS), onWhite);
  return toRgb(await decodeWithSharp(bytes, name, asSeen), onWhite && (asSeen || hasRgbaMode(bytes)));
}

async function decodeWithSharp(bytes: Uint8Array, name: string, asSeen: boolean): Promise<RawPixels> {
  // 'error' refuses what Pillow refuses (truncation, broken checksums) and lets pass what it lets pass (odd metadata).
  const input = sharp(bytes, { failOn: 'error', ignoreIcc: true, limitInputPixels: false });
  const meta = await input.metadata().catch((error: Error) => {
    throw new InputError(`${name} is not a JPEG, PNG, WebP or BMP file or is damaged (${oneLine(error)}).`);
  });
  if (!FORMATS.has(meta.format)) {
    throw new InputError(`${name} is of format ${meta.format}; expected JPEG, PNG, WebP or BMP.`);
  }
  if (meta.width * meta.height > MAX_PIXELS) {
    throw new InputError(`${name} has ${meta.width} x ${meta.height} pixels; expected at most ${MAX_PIXELS} in all.`);
  }
  if ((meta.pages ?? 1) > 1 || isAnimatedPng(bytes)) {
    throw new InputError(`${name} is an animation; expected a still picture.`);
  }
  if (asSeen) input.autoOrient();
  const isCmyk = meta.space === 'cmyk';
  const isDeep = meta.depth === 'ushort';
  if (isCmyk) input.pipelineColourspace('cmyk').toColourspace('cmyk');
  if (isDeep) input.toColourspace(meta.channels < 3 ? 'grey16' : 'rgb16');
  const output = input.raw(isDeep ? { depth: 'ushort' } : {}).toBuffer({ resolveWithObject: true });
  const { data, info } = await output.catch((error: Error) => {
    throw new InputError(`${name} is damaged: its ${meta.format} data cannot be decoded (${oneLine(error)}).`);
  });
  const { width, height, channels } = info;
  if (isCmyk) return { width, height, channels: 3, data: cmykToRgb(data) };
  return { width, height, channels, data: isDeep ? reduceTo8Bits(data, channels, asSeen) : data };
}

/** Pillow's conversion of 16-bit samples: the high byte, except that grey without alpha is clipped at 255 instead, unless `asSeen`. */
function reduceTo8Bits(samples: Uint8Array, channels: number, asSeen: boolean): Uint8Array {
  const wide = new Uint16Array(samples.buffer, samples.byteOffset, samples.length / 2);
  return channels === 1 && !asSeen
    ? Uint8Array.from(wide, (v) => Math.min(v, 255))
    : Uint8Array.from(wide, (v) => v >> 8);
}

/** Pillow's CMYK conversion: (255 - K) - C (255 - K) / 255, without profiles. */
function cmykToRgb(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8ClampedArray((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const light = 255 - cmyk[from + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = cmyk[from + c]! * light + 128;
      rgb[to++] = light - (((product >> 8) + product) >> 8);
    }
  }
  return new Uint8Array(rgb.buffer);
}

/**
 * Whether Pillow opens the file in mode RGBA, the only one that VGGT's preprocessing composites: a PNG of colour type 6 (or 16-bit
 * grey with alpha) or a WebP with alpha. A palette or a grey PNG with transparency is not.
 */
function hasRgbaMode(bytes: Uint8Array): boolean {
  if (!isPng(bytes)) return true;
  const [bitDepth, colourType] = [bytes[24], bytes[25]];
  return colourType === 6 || (colourType === 4 && bitDepth === 16);
}

function isPng(bytes: Uint8Array): boolean {
  return bytes[0] === 0x89 && bytes[1] === 0x50;
}

/** An animated PNG announces itself in an `acTL` chunk before its first `IDAT`. */
function isAnimatedPng(bytes: Uint8Array): boolean {
  if (!isPng(bytes)) return false;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const control = buffer.indexOf('acTL');
  return control >= 0 && control < buffer.indexOf('IDAT');
}

function toRgb({ width, height, channels, data }: RawPixels, onWhite: boolean): RgbImage {
  if (channels === 3) return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
  const rgb = new Uint8Array(width * height * 3);
  const isGrey = channels < 3;
  const hasAlpha = channels % 2 === 0;
  for (let pixel = 0, to = 0; pixel < width * height; pixel++) {
    const from = pixel * channels;
    const alpha = onWhite && hasAlpha ? data[from + channels - 1]! : 255;
    for (let c = 0; c < 3; c++) rgb[to++] = overWhite(data[isGrey ? from : from + c]!, alpha);
  }
  return { width, height, data: rgb };
}

/** One channel of Pillow's `alpha_composite` over opaque white, in its integer arithmetic with 7 extra bits. */
function overWhite(value: number, alpha: number): number {
  if (alpha === 255) return value;
  const weight = alpha << 7;
  const sum = value * weight + 255 * ((255 << 7) - weight) + (0x80 << 7);
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/**
 * Paths of the pictures in a folder (.jpg, .jpeg, .png, .bmp, .webp in any case; sub-folders are not entered), in the order of Python's
 * `sorted`: by code points. Throws InputError if the folder is missing or holds none.
 */
export async function listImages(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch((error: Error) => {
    throw new InputError(`picture folder ${dir} cannot be read: ${error.message}.`);
  });
  const paths: string[] = [];
  for (const name of names.filter((name) => SUFFIXES.test(name)).sort(compareCodePoints)) {
    const path = join(dir, name);
    if ((await stat(path)).isFile()) paths.push(path);
  }
  if (paths.length === 0) {
    throw new InputError(`folder ${dir} holds no picture; expected files ending in .jpg, .jpeg, .png, .bmp or .webp.`);
  }
  return paths;
}

/** The order of UTF-8 bytes is the order of code points; that of JavaScript strings (UTF-16) is not. */
function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function oneLine(error: Error): string {
  return error.message.trim().split('\n')[0]!;
}

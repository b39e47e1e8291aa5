import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { decodeImage, listImages } from '../../src/io/image.ts';
import { maxAbsDifference } from '../compare.ts';

/** Small files of many kinds, their mode in Pillow 12.3, and what it makes of them; `white` only where compositing matters. */
interface PillowCase {
  name: string;
  mode: string;
  width: number;
  height: number;
  file: string;
  drop: string;
  white?: string;
}

const FIXTURES = new URL('../fixtures/', import.meta.url);
const cases = JSON.parse(await readFile(new URL('pillow_modes.json', FIXTURES), 'utf8')) as PillowCase[];
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));
const fileOf = (name: string) => bytesOf(cases.find((entry) => entry.name === name)!.file);

describe('decodeImage', () => {
  it.each(cases)('gives the pixels of Pillow for $name (mode $mode)', async ({ width, height, file, drop, white }) => {
    const dropped = await decodeImage(bytesOf(file));
    expect([dropped.width, dropped.height]).toEqual([width, height]);
    expect(maxAbsDifference(dropped.data, bytesOf(drop))).toBe(0);
    const onWhite = await decodeImage(bytesOf(file), { alpha: 'white' });
    expect(maxAbsDifference(onWhite.data, bytesOf(white ?? drop))).toBe(0);
  });

  it('reads a path', async () => {
    const { width, height } = await decodeImage(new URL('images/2chairs.png', FIXTURES).pathname);
    expect([width, height]).toEqual([640, 480]);
  });
});

describe('unusable pictures', () => {
  const refusal = async (source: string | Uint8Array) => {
    const error = await decodeImage(source).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(InputError);
    const { message } = error as InputError;
    expect(message).toMatch(/^[^\n]+\.$/);
    return message;
  };

  it('a missing file, a folder, nothing and noise', async () => {
    expect(await refusal('/no/such/picture.png')).toMatch('picture /no/such/picture.png cannot be read');
    expect(await refusal(tmpdir())).toMatch('cannot be read');
    expect(await refusal(new Uint8Array())).toMatch('is empty');
    expect(await refusal(new Uint8Array(1000).map((_, i) => i * 37))).toMatch('not a JPEG, PNG, WebP or BMP');
  });

  it.each(['444.jpg', 'rgb.png', 'alpha.webp', 'bottom_up.bmp'])('%s without its end', async (name) => {
    const file = fileOf(name);
    for (const share of [0.1, 0.5, 0.8]) await refusal(file.subarray(0, Math.floor(file.length * share)));
  });

  it('a PNG with a wrong checksum', async () => {
    const file = fileOf('rgb.png');
    const data = Buffer.from(file).indexOf('IDAT');
    file[data + 20]! ^= 0xff;
    expect(await refusal(file)).toMatch('cannot be decoded');
  });

  it('a PNG or BMP that claims more pixels than Pillow takes', async () => {
    const bmp = fileOf('bottom_up.bmp');
    new DataView(bmp.buffer).setInt32(18, 20000, true);
    new DataView(bmp.buffer).setInt32(22, 20000, true);
    expect(await refusal(bmp)).toMatch('20000 x 20000 pixels');
    const png = fileOf('rgb.png');
    const header = new DataView(png.buffer);
    header.setUint32(16, 14000);
    header.setUint32(20, 14000);
    header.setUint32(29, crc32(png.subarray(12, 29)));
    expect(await refusal(png)).toMatch('14000 x 14000 pixels');
  });

  it('other formats and animations', async () => {
    const still = sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } });
    expect(await refusal(await still.clone().tiff().toBuffer())).toMatch('format tiff');
    expect(await refusal(await still.clone().gif().toBuffer())).toMatch('format gif');
    expect(await refusal(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>'))).toMatch('svg');
    const frames = { raw: { width: 4, height: 8, channels: 3 as const, pageHeight: 4 } };
    const animated = await sharp(new Uint8Array(96).fill(9, 48), frames)
      .webp({ loop: 0, delay: [50, 50] })
      .toBuffer();
    expect(await refusal(animated)).toMatch('animation');
  });

  it('bitmaps with a palette or compression', async () => {
    const palette = fileOf('bottom_up.bmp');
    new DataView(palette.buffer).setUint16(28, 8, true);
    expect(await refusal(palette)).toMatch('8 bits a pixel');
    const compressed = fileOf('bottom_up.bmp');
    new DataView(compressed.buffer).setUint32(30, 4, true);
    expect(await refusal(compressed)).toMatch('compression 4');
    expect(await refusal(fileOf('bottom_up.bmp').subarray(0, 30))).toMatch('header');
  });
});

describe('listImages', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'pictures-'));
    for (const name of ['b.png', 'a.JPG', 'B.webp', 'a10.jpeg', 'a2.bmp', 'note.txt', '\u{1f600}.png', '\uff21.png']) {
      await writeFile(join(dir, name), 'x');
    }
    await mkdir(join(dir, 'folder.png'));
    await mkdir(join(dir, 'none'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  it('sorts by code points and takes pictures only', async () => {
    const names = ['B.webp', 'a.JPG', 'a10.jpeg', 'a2.bmp', 'b.png', '\uff21.png', '\u{1f600}.png'];
    expect(await listImages(dir)).toEqual(names.map((name) => join(dir, name)));
  });

  it('refuses a folder that is missing or holds no picture', async () => {
    await expect(listImages(join(dir, 'none'))).rejects.toThrow(InputError);
    await expect(listImages(join(dir, 'missing'))).rejects.toThrow(InputError);
  });
});

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { decodeImage, type RgbImage } from '../../../src/io/image.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import { preprocessCrop, preprocessPad, stackFrames } from '../../../src/models/vggt/image_processor.ts';
import { maxAbsDifference } from '../../compare.ts';

const fixtures = new URL('../../fixtures/', import.meta.url).pathname;
const flat = (width: number, height: number, value = 0): RgbImage => ({
  width,
  height,
  data: new Uint8Array(width * height * 3).fill(value),
});
const sizes = (images: RgbImage[]) => images.map(({ width, height }) => `${width}x${height}`);
/** The first channel of the pixel in column x of row y. */
const at = ({ width, data }: RgbImage, x: number, y: number) => data[(y * width + x) * 3];

describe('preprocessCrop', () => {
  it('equals the original for sofas.jpg', async () => {
    const reference = await Checkpoint.open(join(fixtures, 'spatialstack-tiny/reference/image.safetensors'));
    const expected = await reference.readBytes('preprocessed_rgb');
    await reference.close();
    const source = await decodeImage(join(fixtures, 'images/sofas.jpg'), { alpha: 'white' });
    const [image] = preprocessCrop([source]);
    expect(sizes([image!])).toEqual(['518x392']);
    expect(maxAbsDifference(image!.data, expected)).toBe(0);
  });

  it('rounds the height to patches, ties to even', () => {
    // heights: 3 * 7 = 1.5 patches, 5 * 7 = 2.5 patches
    expect(sizes(preprocessCrop([flat(518, 21)]))).toEqual(['518x28']);
    expect(sizes(preprocessCrop([flat(518, 35)]))).toEqual(['518x28']);
    expect(sizes(preprocessCrop([flat(100, 80)], 70))).toEqual(['70x56']);
  });

  it('keeps the middle rows of a tall picture', () => {
    const tall = flat(518, 1036);
    for (let y = 0; y < 1036; y++) tall.data.fill(y % 256, y * 518 * 3, (y + 1) * 518 * 3);
    const [image] = preprocessCrop([tall]);
    expect(sizes([image!])).toEqual(['518x518']);
    expect(at(image!, 0, 0)).toBe(259 % 256);
    expect(at(image!, 517, 517)).toBe((259 + 517) % 256);
  });

  it('centres smaller pictures on white', () => {
    const [small, large] = preprocessCrop([flat(518, 378), flat(518, 392)]);
    expect(sizes([small!, large!])).toEqual(['518x392', '518x392']);
    expect([6, 7, 384, 385].map((y) => at(small!, 100, y))).toEqual([255, 0, 0, 255]);
  });

  it('refuses a picture without a row of patches', () => {
    expect(() => preprocessCrop([flat(1000, 5)])).toThrow(InputError);
  });
});

describe('preprocessPad', () => {
  it('fits the longer side and pads to a white square', () => {
    const [wide, tall] = preprocessPad([flat(518, 378), flat(378, 518)]);
    expect(sizes([wide!, tall!])).toEqual(['518x518', '518x518']);
    expect([69, 70, 447, 448].map((i) => at(wide!, 9, i))).toEqual([255, 0, 0, 255]);
    expect([69, 70, 447, 448].map((i) => at(tall!, i, 9))).toEqual([255, 0, 0, 255]);
  });
});

describe('stackFrames', () => {
  it('puts the bytes of pictures one after the other', () => {
    const [a, b] = [flat(2, 1, 7), { width: 2, height: 1, data: Uint8Array.of(0, 51, 102, 153, 204, 255) }];
    const { data, ...sizes } = stackFrames([a!, b!]);
    expect(sizes).toEqual({ frames: 2, height: 1, width: 2 });
    expect([...data]).toEqual([7, 7, 7, 7, 7, 7, 0, 51, 102, 153, 204, 255]);
  });

  it('refuses no picture and different sizes', () => {
    expect(() => stackFrames([])).toThrow(InputError);
    expect(() => stackFrames([flat(2, 1), flat(1, 2)])).toThrow(InputError);
  });
});

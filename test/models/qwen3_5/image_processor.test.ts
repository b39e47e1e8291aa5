import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { decodeImage, type RgbImage } from '../../../src/io/image.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import {
  loadProcessorConfig,
  processImages,
  processVideo,
  sampleVideoFrames,
  smartResize,
  videoTimestamps,
} from '../../../src/models/qwen3_5/image_processor.ts';
import { maxAbsDifference } from '../../compare.ts';
import { bytesOf, patchValues } from '../../patches.ts';

const fixtures = new URL('../../fixtures/', import.meta.url).pathname;
const tiny = join(fixtures, 'qwen3_5-tiny');
const pictures = () =>
  Promise.all(
    ['sofas.jpg', 'office_chairs.jpg', '2chairs.png'].map((name) => decodeImage(join(fixtures, 'images', name))),
  );
const flat = (width: number, height: number, value = 128): RgbImage => ({
  width,
  height,
  data: new Uint8Array(width * height * 3).fill(value),
});

async function withReference<Result>(path: string, use: (reference: Checkpoint) => Promise<Result>): Promise<Result> {
  const reference = await Checkpoint.open(join(tiny, 'reference', path));
  try {
    return await use(reference);
  } finally {
    await reference.close();
  }
}

describe('smartResize', () => {
  // height x width: the input, its size with the released limits, its size with those of the SpatialStack scripts
  const table: [string, string, string][] = [
    ['480x640', '480x640', '480x640'],
    ['720x1280', '704x1280', '704x1280'],
    ['1080x1920', '1088x1920', '928x1664'],
    ['968x1296', '960x1280', '960x1280'],
    ['392x518', '384x512', '416x544'],
    ['294x518', '288x512', '352x608'],
    ['518x518', '512x512', '512x512'],
  ];
  it.each(table)('%s -> %s and %s', (input, released, scripts) => {
    const [height, width] = input.split('x').map(Number) as [number, number];
    expect(smartResize(height, width, 32, 65536, 16777216).join('x')).toBe(released);
    expect(smartResize(height, width, 32, 200704, 1605632).join('x')).toBe(scripts);
  });

  it('rounds ties to even and grows what rounds to nothing', () => {
    expect(smartResize(48, 80, 32, 1, 1e9)).toEqual([64, 64]);
    expect(smartResize(112, 144, 32, 1, 1e9)).toEqual([128, 128]);
    expect(smartResize(16, 64, 32, 1024, 1e9)).toEqual([32, 64]);
  });

  it('shrinks to no less than one window and refuses long strips', () => {
    expect(smartResize(2000, 20, 32, 1, 4096)).toEqual([640, 32]);
    expect(() => smartResize(2001, 10, 32, 1, 1e9)).toThrow(InputError);
  });
});

describe('processImages', () => {
  it.each([
    ['image', 1],
    ['images', 3],
  ])('equals the reference for %s', async (name, count) => {
    const { image } = await loadProcessorConfig(tiny);
    const pixels = processImages((await pictures()).slice(0, count), image);
    const patches = patchValues(pixels);
    await withReference(`${name}.safetensors`, async (reference) => {
      expect(pixels.gridThw.flat()).toEqual([...(await reference.readFloat32('image_grid_thw'))]);
      const bytes = await reference.readBytes('pixel_values_u8');
      expect(maxAbsDifference(bytesOf(patches), bytes)).toBe(0);
      const expected = Float32Array.from(bytes, (byte) => (byte - 127.5) / 127.5);
      expect(maxAbsDifference(patches, expected)).toBe(0);
    });
  });

  it('gives the same pixels for pictures together and one at a time', async () => {
    const { image } = await loadProcessorConfig(tiny);
    const together = processImages(await pictures(), image);
    const apart = (await pictures()).map((picture) => processImages([picture], image));
    expect(together.gridThw).toEqual(apart.flatMap(({ gridThw }) => gridThw));
    expect(Buffer.compare(together.data, Buffer.concat(apart.map(({ data }) => data)))).toBe(0);
  });

  it('normalises each channel with its own mean and deviation', async () => {
    const { image } = await loadProcessorConfig(tiny);
    const config = { ...image, mean: [0.5, 0.4, 0.3], std: [0.5, 0.25, 0.2] };
    const { values } = processImages([flat(64, 64)], config);
    const found = [0, 1, 2].map((channel) => values[channel * 256 + 51]!);
    expect(maxAbsDifference(found, [-0.6, -0.8, -0.5])).toBeLessThan(1e-6);
  });
});

describe('processVideo', () => {
  it('equals the reference', async () => {
    const { video } = await loadProcessorConfig(tiny);
    await withReference('video.safetensors', async (reference) => {
      const [count, height, width] = reference.entry('frames_rgb').shape as [number, number, number];
      const bytes = await reference.readBytes('frames_rgb');
      const size = height * width * 3;
      const frames = Array.from({ length: count }, (_, i) => ({
        width,
        height,
        data: bytes.subarray(i * size, (i + 1) * size),
      }));
      const pixels = processVideo(frames, video);
      expect(pixels.gridThw).toEqual([[...(await reference.readFloat32('video_grid_thw'))]]);
      const expected = await reference.readBytes('pixel_values_videos_u8');
      expect(maxAbsDifference(bytesOf(patchValues(pixels)), expected)).toBe(0);
    });
  });

  it('bounds the area of the whole clip and enlarges tiny frames', async () => {
    const { video } = await loadProcessorConfig(tiny);
    const gridOf = (count: number, width: number, height: number) =>
      processVideo(
        Array.from({ length: count }, () => flat(width, height)),
        video,
      ).gridThw[0];
    // sqrt(8 * 480 * 640 / 131072) = 4.33: 110.9 x 147.8 pixels, rounded down to 96 x 128
    expect(gridOf(8, 640, 480)).toEqual([4, 6, 8]);
    // 20 x 10 becomes 64 x 32, whose volume with 2 frames equals the minimum
    expect(gridOf(2, 20, 10)).toEqual([1, 2, 4]);
    expect(gridOf(3, 64, 64)).toEqual([2, 4, 4]);
  });

  it('refuses a single frame and frames of different sizes', async () => {
    const { video } = await loadProcessorConfig(tiny);
    expect(() => processVideo([flat(64, 64)], video)).toThrow(InputError);
    expect(() => processVideo([flat(64, 64), flat(64, 65)], video)).toThrow(InputError);
  });
});

describe('video sampling', () => {
  it('chooses frames at the wanted rate within the bounds', async () => {
    const { video } = await loadProcessorConfig(tiny);
    expect(sampleVideoFrames(100, 25, video)).toEqual([0, 14, 28, 42, 57, 71, 85, 99]);
    expect(sampleVideoFrames(7, 4, video)).toEqual([0, 2, 4, 6]);
    expect(sampleVideoFrames(3, 30, video)).toEqual([0, 1, 2]);
    expect(sampleVideoFrames(240, undefined, video)).toHaveLength(20);
    expect(sampleVideoFrames(100000, 25, { ...video, maxFrames: 5 })).toEqual([0, 25000, 50000, 74999, 99999]);
  });

  it('gives the time of each group', () => {
    // The timestamps in the rendered prompt of the video reference: 0.1, 0.6, 1.1 and 1.5 seconds
    expect(videoTimestamps([0, 1, 2, 3, 4, 5, 6], 4, 2)).toEqual([0.125, 0.625, 1.125, 1.5]);
  });
});

describe('loadProcessorConfig', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'processor-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  const released = { patchSize: 16, temporalPatchSize: 2, mergeSize: 2, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };

  it('falls back to the released settings', async () => {
    const { image, video } = await loadProcessorConfig(dir);
    expect(image).toEqual({ ...released, minPixels: 65536, maxPixels: 16777216 });
    const frames = { fps: 2, minFrames: 4, maxFrames: 768 };
    expect(video).toEqual({ ...released, minPixels: 4096, maxPixels: 25165824, ...frames });
  });

  it('reads the combined file and lets the caller replace the bounds of pictures', async () => {
    const { image, video } = await loadProcessorConfig(tiny, { minPixels: 200704, maxPixels: 1605632 });
    expect(image).toEqual({ ...released, minPixels: 200704, maxPixels: 1605632 });
    expect(video).toMatchObject({ minPixels: 4096, maxPixels: 131072, fps: 2, minFrames: 4, maxFrames: 768 });
  });

  it('reads the separate files', async () => {
    const size = { shortest_edge: 1000, longest_edge: 2000 };
    await writeFile(
      join(dir, 'preprocessor_config.json'),
      JSON.stringify({ size, patch_size: 14, image_std: [1, 1, 1] }),
    );
    await writeFile(join(dir, 'video_preprocessor_config.json'), JSON.stringify({ fps: 1.5, max_frames: 16 }));
    const { image, video } = await loadProcessorConfig(dir);
    expect(image).toEqual({ ...released, minPixels: 1000, maxPixels: 2000, patchSize: 14, std: [1, 1, 1] });
    expect(video).toMatchObject({ ...released, minPixels: 4096, fps: 1.5, minFrames: 4, maxFrames: 16 });
  });

  const unusable: [string, object][] = [
    ['patch_size', { patch_size: 0 }],
    ['size', { size: { shortest_edge: 'small' } }],
    ['bounds', { size: { shortest_edge: 3000, longest_edge: 2000 } }],
    ['image_mean', { image_mean: [0.5, 0.5] }],
    ['image_std', { image_std: [0.5, 0, 0.5] }],
    ['resample', { resample: 2 }],
    ['do_normalize', { do_normalize: false }],
    ['rescale_factor', { rescale_factor: 1 }],
  ];
  it.each(unusable)('refuses an unusable %s', async (_, settings) => {
    await writeFile(join(dir, 'preprocessor_config.json'), JSON.stringify(settings));
    await expect(loadProcessorConfig(dir)).rejects.toThrow(InputError);
  });
});

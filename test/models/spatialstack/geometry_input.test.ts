import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { decodeImage } from '../../../src/io/image.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import { loadProcessorConfig, processImages } from '../../../src/models/qwen3_5/image_processor.ts';
import { interleaved } from '../../../src/models/qwen3_5/reference_pixels.ts';
import { geometryImages } from '../../../src/models/spatialstack/geometry_input.ts';
import { preprocessCrop, stackFrames } from '../../../src/models/vggt/image_processor.ts';
import { maxAbsDifference } from '../../compare.ts';
import { bytesOf, patchValues } from '../../patches.ts';

const fixtures = new URL('../../fixtures/', import.meta.url).pathname;
const tiny = join(fixtures, 'spatialstack-tiny');

describe('geometryImages', () => {
  it.each([
    ['image', ['sofas.jpg']],
    ['images', ['sofas.jpg', 'office_chairs.jpg', '2chairs.png']],
  ])('equals the original for %s, from files to both models', async (name, files) => {
    const reference = await Checkpoint.open(join(tiny, `reference/${name}.safetensors`));
    const geometry = await reference.readBytes('geometry_images_u8');
    const pixels = await reference.readBytes('pixel_values_u8');
    const grid = await reference.readFloat32('image_grid_thw');
    await reference.close();

    const sources = await Promise.all(
      files.map((file) => decodeImage(join(fixtures, 'images', file), { alpha: 'white' })),
    );
    const images = preprocessCrop(sources);
    const { image } = await loadProcessorConfig(tiny);
    const found = processImages(images, image);
    expect(found.gridThw.flat()).toEqual([...grid]);
    expect(maxAbsDifference(bytesOf(patchValues(found)), pixels)).toBe(0);

    const { data, height, width } = stackFrames(geometryImages(images, found.gridThw));
    expect(maxAbsDifference(data, interleaved(geometry, height * width))).toBe(0);
  });

  it('centres pictures of different grids on white', () => {
    const black = { width: 32, height: 32, data: new Uint8Array(32 * 32 * 3) };
    const [small, large] = geometryImages(
      [black, black],
      [
        [1, 2, 2],
        [1, 4, 2],
      ],
    );
    expect([small!.width, small!.height, large!.width, large!.height]).toEqual([28, 56, 28, 56]);
    const rows = [13, 14, 41, 42].map((y) => small!.data[y * 28 * 3]);
    expect(rows).toEqual([255, 0, 0, 255]);
  });

  it('refuses a missing grid', () => {
    expect(() => geometryImages([{ width: 1, height: 1, data: new Uint8Array(3) }], [])).toThrow(InputError);
  });
});

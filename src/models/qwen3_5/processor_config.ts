/** Settings of the picture and video processors that travel with a checkpoint. */
import { join } from 'node:path';
import { InputError } from '../../io/errors.ts';
import { readJsonFileIfPresent } from '../../io/json.ts';
import { JsonFields } from '../../io/json_fields.ts';

/** How a picture becomes patches. `minPixels` and `maxPixels` bound the area after resizing; `mean` and `std` are for channels in 0..1. */
export interface ImageProcessorConfig {
  patchSize: number;
  temporalPatchSize: number;
  mergeSize: number;
  minPixels: number;
  maxPixels: number;
  mean: number[];
  std: number[];
}

/** The same for a video, where the area is summed over the frames of the clip; `fps` is the rate at which frames are sampled. */
export interface VideoProcessorConfig extends ImageProcessorConfig {
  fps: number;
  minFrames: number;
  maxFrames: number;
}

/** What the released Qwen3.5 models say. */
const PATCHES = { patchSize: 16, temporalPatchSize: 2, mergeSize: 2, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
const RELEASED_IMAGE: ImageProcessorConfig = { ...PATCHES, minPixels: 65536, maxPixels: 16777216 };
const RELEASED_VIDEO: VideoProcessorConfig = {
  ...PATCHES,
  minPixels: 4096,
  maxPixels: 25165824,
  fps: 2,
  minFrames: 4,
  maxFrames: 768,
};

/** Pillow's number of the bicubic filter, the only one the processor has. */
const BICUBIC = 3;

/**
 * Reads a checkpoint folder's processor settings: the sub-objects of `processor_config.json` where they exist, else
 * `preprocessor_config.json` and `video_preprocessor_config.json`, else the released models' values. The overrides replace the
 * area bounds of still pictures. Throws InputError for settings that make no sense or that this processor does not implement.
 */
export async function loadProcessorConfig(
  dir: string,
  overrides: { minPixels?: number; maxPixels?: number } = {},
): Promise<{ image: ImageProcessorConfig; video: VideoProcessorConfig }> {
  const combined = await readFields(join(dir, 'processor_config.json'));
  const imageFields = combined?.nested('image_processor') ?? (await readFields(join(dir, 'preprocessor_config.json')));
  const videoFields =
    combined?.nested('video_processor') ?? (await readFields(join(dir, 'video_preprocessor_config.json')));
  const image = { ...(imageFields ? imageConfig(imageFields, RELEASED_IMAGE) : RELEASED_IMAGE), ...overrides };
  checkArea(image, `the picture processor of ${dir}`);
  const video = videoFields ? videoConfig(videoFields) : { ...RELEASED_VIDEO };
  checkArea(video, `the video processor of ${dir}`);
  return { image, video };
}

async function readFields(path: string): Promise<JsonFields | undefined> {
  const value = await readJsonFileIfPresent(path);
  return value === undefined ? undefined : JsonFields.of(value, path);
}

function imageConfig(fields: JsonFields, released: ImageProcessorConfig): ImageProcessorConfig {
  for (const step of ['do_resize', 'do_rescale', 'do_normalize']) {
    if (!fields.boolean(step, true)) throw fields.refusal(step, 'true');
  }
  if (fields.integer('resample', { min: 0, max: 5, fallback: BICUBIC }) !== BICUBIC) {
    throw fields.refusal('resample', `${BICUBIC} (bicubic)`);
  }
  if (Math.abs(fields.number('rescale_factor', { max: 1, fallback: 1 / 255 }) - 1 / 255) > 1e-9) {
    throw fields.refusal('rescale_factor', '1/255');
  }
  // Older files name the bounds min_pixels and max_pixels, newer ones put them under `size` by names that suggest edges.
  const size = fields.nested('size');
  const area = (oldKey: string, key: string, fallback: number) => {
    const max = Number.MAX_SAFE_INTEGER;
    if (fields.get(oldKey) !== undefined) return fields.integer(oldKey, { max });
    return size ? size.integer(key, { max, fallback }) : fallback;
  };
  return {
    patchSize: fields.integer('patch_size', { max: 1024, fallback: released.patchSize }),
    temporalPatchSize: fields.integer('temporal_patch_size', { max: 64, fallback: released.temporalPatchSize }),
    mergeSize: fields.integer('merge_size', { max: 64, fallback: released.mergeSize }),
    minPixels: area('min_pixels', 'shortest_edge', released.minPixels),
    maxPixels: area('max_pixels', 'longest_edge', released.maxPixels),
    mean: perChannel(fields, 'image_mean', released.mean, () => true, 'three numbers'),
    std: perChannel(fields, 'image_std', released.std, (value) => value > 0, 'three numbers above 0'),
  };
}

function videoConfig(fields: JsonFields): VideoProcessorConfig {
  const minFrames = fields.integer('min_frames', { max: 1e6, fallback: RELEASED_VIDEO.minFrames });
  const maxFrames = fields.integer('max_frames', { max: 1e6, fallback: RELEASED_VIDEO.maxFrames });
  const fps = fields.number('fps', { max: 1000, fallback: RELEASED_VIDEO.fps });
  if (fps === 0) throw fields.refusal('fps', 'a number above 0');
  return { ...imageConfig(fields, RELEASED_VIDEO), fps, minFrames, maxFrames };
}

function perChannel(
  fields: JsonFields,
  key: string,
  fallback: number[],
  accepts: (value: number) => boolean,
  expected: string,
): number[] {
  const values = fields.get(key) ?? fallback;
  const isTriple = Array.isArray(values) && values.length === 3;
  if (!isTriple || !values.every((value) => typeof value === 'number' && accepts(value))) {
    throw fields.refusal(key, expected);
  }
  return values;
}

function checkArea({ minPixels, maxPixels }: ImageProcessorConfig, name: string): void {
  const isArea = (value: number) => Number.isSafeInteger(value) && value > 0;
  if (!isArea(minPixels) || !isArea(maxPixels) || minPixels > maxPixels) {
    throw new InputError(
      `${name} needs whole pixel counts 0 < minimum <= maximum, found minimum ${minPixels} and maximum ${maxPixels}.`,
    );
  }
}

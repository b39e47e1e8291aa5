/**
 * Pictures and videos for the vision tower: resized to a multiple of the merge window. The tower normalises them and cuts them up
 * (transformers `image_processing_qwen2_vl`, `video_processing_qwen3_vl`).
 */
import { InputError } from '../../io/errors.ts';
import type { RgbImage } from '../../io/image.ts';
import { resizeBicubic } from '../../io/resample.ts';
import { linspaceFromZero, roundHalfEven } from '../../io/round.ts';
import type { ImageProcessorConfig, VideoProcessorConfig } from './processor_config.ts';

export { type ImageProcessorConfig, loadProcessorConfig, type VideoProcessorConfig } from './processor_config.ts';

/** Pictures or videos in the size in which they are cut into patches. */
export interface Pixels {
  /** RGB bytes [frames, height, width, 3], picture after picture. */
  readonly data: Uint8Array;
  /** Frames of a time group of `data`: 1 for pictures, which fill all time slices of their patches. */
  readonly groupFrames: number;
  /** [3, 256]: what every byte of a channel becomes. */
  readonly values: Float32Array;
  /** Per picture or video: time groups, rows and columns of patches. */
  readonly gridThw: [number, number, number][];
}

const MAX_ASPECT_RATIO = 200;

/**
 * The height and width, multiples of `factor`, to which a picture of `height` x `width` is resized: the nearest, or the nearest that keep
 * the aspect ratio and an area within `minPixels`..`maxPixels`. Throws InputError if one side is over 200 times the other.
 */
export function smartResize(
  height: number,
  width: number,
  factor: number,
  minPixels: number,
  maxPixels: number,
): [height: number, width: number] {
  return fitArea(1, 1, height, width, factor, minPixels, maxPixels);
}

/**
 * The size for `frames` frames of one size. `time` is the number of frames after padding to whole time groups; the bounds are on the
 * volume time * height * width, while the correction starts from the unpadded one.
 */
function fitArea(
  frames: number,
  time: number,
  height: number,
  width: number,
  factor: number,
  minPixels: number,
  maxPixels: number,
): [height: number, width: number] {
  if (Math.max(height, width) / Math.min(height, width) > MAX_ASPECT_RATIO) {
    throw new InputError(
      `a picture of ${width} x ${height} pixels is too elongated; expected a side ratio of at most ${MAX_ASPECT_RATIO}.`,
    );
  }
  const roundedHeight = roundHalfEven(height / factor) * factor;
  const roundedWidth = roundHalfEven(width / factor) * factor;
  const volume = time * roundedHeight * roundedWidth;
  if (volume > maxPixels) {
    const beta = Math.sqrt((frames * height * width) / maxPixels);
    const shrink = (side: number) => Math.max(factor, Math.floor(side / beta / factor) * factor);
    return [shrink(height), shrink(width)];
  }
  if (volume < minPixels) {
    const beta = Math.sqrt(minPixels / (frames * height * width));
    const grow = (side: number) => Math.ceil((side * beta) / factor) * factor;
    return [grow(height), grow(width)];
  }
  return [roundedHeight, roundedWidth];
}

/** Still pictures. Throws InputError for a side ratio over 200. */
export function processImages(images: readonly RgbImage[], config: ImageProcessorConfig): Pixels {
  const { patchSize, mergeSize, minPixels, maxPixels } = config;
  const resized = images.map((image) => {
    const [height, width] = smartResize(image.height, image.width, patchSize * mergeSize, minPixels, maxPixels);
    return resizeBicubic(image, width, height, 'torchvision');
  });
  const gridThw = resized.map(({ height, width }): Pixels['gridThw'][number] => [
    1,
    height / patchSize,
    width / patchSize,
  ]);
  return { data: joined(resized), groupFrames: 1, values: normalisedBytes(config), gridThw };
}

/**
 * One video whose frames are already sampled (`sampleVideoFrames`) and equal in size; an incomplete last time group is filled by
 * repeating the last frame. Throws InputError for too few frames, unequal sizes or a side ratio over 200.
 */
export function processVideo(frames: readonly RgbImage[], config: VideoProcessorConfig): Pixels {
  const { patchSize, temporalPatchSize, minPixels, maxPixels } = config;
  const factor = patchSize * config.mergeSize;
  if (frames.length < temporalPatchSize) {
    throw new InputError(`a video needs at least ${temporalPatchSize} frames, found ${frames.length}.`);
  }
  let { height, width } = frames[0]!;
  const odd = frames.find((frame) => frame.height !== height || frame.width !== width);
  if (odd) {
    throw new InputError(
      `the frames of a video must have one size, found ${width} x ${height} and ${odd.width} x ${odd.height}.`,
    );
  }
  if (height < factor || width < factor) {
    const scale = Math.max(factor / height, factor / width);
    [height, width] = [Math.trunc(height * scale), Math.trunc(width * scale)];
  }
  const time = roundHalfEven(frames.length / temporalPatchSize) * temporalPatchSize;
  [height, width] = fitArea(frames.length, time, height, width, factor, minPixels, maxPixels);

  const resized = frames.map((frame) => resizeBicubic(frame, width, height, 'torchvision'));
  while (resized.length % temporalPatchSize !== 0) resized.push(resized.at(-1)!);
  return {
    data: joined(resized),
    groupFrames: temporalPatchSize,
    values: normalisedBytes(config),
    gridThw: [[resized.length / temporalPatchSize, height / patchSize, width / patchSize]],
  };
}

/** Black pictures of rows x columns patches of `patch` x `patch` pixels: for going through the motions. */
export function blackPictures(count: number, [rows, columns]: readonly [number, number], patch: number): Pixels {
  return {
    data: new Uint8Array(count * rows * columns * 3 * patch ** 2),
    groupFrames: 1,
    values: new Float32Array(3 * 256),
    gridThw: Array.from({ length: count }, () => [1, rows, columns]),
  };
}

/** The bytes of pictures one after the other. */
function joined(images: readonly RgbImage[]): Uint8Array {
  const out = new Uint8Array(images.reduce((sum, { data }) => sum + data.length, 0));
  let to = 0;
  for (const { data } of images) {
    out.set(data, to);
    to += data.length;
  }
  return out;
}

/** Per channel, the normalised value of every byte, [3, 256]: (u8 - 255 mean) / (255 std) in float32 steps, the rescaling by 1/255 fused in. */
export function normalisedBytes({ mean, std }: Pick<ImageProcessorConfig, 'mean' | 'std'>): Float32Array {
  const { fround } = Math;
  return Float32Array.from({ length: 3 * 256 }, (_, i) => {
    const channel = i >> 8;
    return fround((i & 255) - fround(mean[channel]! * 255)) / fround(std[channel]! * 255);
  });
}

/** Frames per second assumed for a video that does not tell. */
const UNKNOWN_FPS = 24;

/**
 * Which of a video's `total` frames the model sees: `config.fps` a second, within `minFrames`..`maxFrames`, evenly spread from the first to
 * the last. `fps` is the video's own rate.
 */
export function sampleVideoFrames(total: number, fps: number | undefined, config: VideoProcessorConfig): number[] {
  const wanted = Math.trunc((total / (fps ?? UNKNOWN_FPS)) * config.fps);
  const count = Math.min(Math.max(wanted, config.minFrames), config.maxFrames, total);
  return linspaceFromZero(total - 1, count).map(roundHalfEven);
}

/** The time in seconds of each time group: halfway between its first and its last frame; the last group may be incomplete. */
export function videoTimestamps(indices: readonly number[], fps: number, temporalPatchSize: number): number[] {
  const times: number[] = [];
  for (let first = 0; first < indices.length; first += temporalPatchSize) {
    const last = Math.min(first + temporalPatchSize, indices.length) - 1;
    times.push((indices[first]! / fps + indices[last]! / fps) / 2);
  }
  return times;
}

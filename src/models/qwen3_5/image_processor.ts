/**
 * Pictures and videos to the patches of the vision tower: resize to a multiple of the merge window, normalise, cut up
 * (transformers `image_processing_qwen2_vl`, `video_processing_qwen3_vl`).
 */
import { InputError } from '../../io/errors.ts';
import type { RgbImage } from '../../io/image.ts';
import { resizeBicubic } from '../../io/resample.ts';
import { linspaceFromZero, roundHalfEven } from '../../io/round.ts';
import type { ImageProcessorConfig, VideoProcessorConfig } from './processor_config.ts';

export { type ImageProcessorConfig, loadProcessorConfig, type VideoProcessorConfig } from './processor_config.ts';

/** Normalised patches, picture after picture. */
export interface Patches {
  /** [N, 3 * temporal * patch * patch], inside a patch ordered (channel, time, y, x). */
  readonly pixelValues: Float32Array;
  /** Per picture or video: time groups, rows and columns of patches; their products sum to N. */
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

/** Patches of still pictures; each frame fills all time slices of its patches. Throws InputError for a side ratio over 200. */
export function processImages(images: readonly RgbImage[], config: ImageProcessorConfig): Patches {
  const factor = config.patchSize * config.mergeSize;
  const groups = images.map((image) => {
    const [height, width] = smartResize(image.height, image.width, factor, config.minPixels, config.maxPixels);
    const resized = resizeBicubic(image, width, height, 'torchvision');
    return Array.from({ length: config.temporalPatchSize }, () => resized);
  });
  return {
    pixelValues: patchify(groups, config),
    gridThw: groups.map(([image]) => [1, image!.height / config.patchSize, image!.width / config.patchSize]),
  };
}

/**
 * Patches of one video whose frames are already sampled (`sampleVideoFrames`) and equal in size; an incomplete last time group is filled by
 * repeating the last frame. Throws InputError for too few frames, unequal sizes or a side ratio over 200.
 */
export function processVideo(frames: readonly RgbImage[], config: VideoProcessorConfig): Patches {
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
  const groups: RgbImage[][] = [];
  for (let i = 0; i < resized.length; i += temporalPatchSize) groups.push(resized.slice(i, i + temporalPatchSize));
  return {
    pixelValues: patchify(groups, config),
    gridThw: [[groups.length, height / patchSize, width / patchSize]],
  };
}

/**
 * Cuts time groups (each `temporalPatchSize` pictures of one size) into patches, window by window: the mergeSize x mergeSize patches that
 * the merger joins are consecutive.
 */
function patchify(groups: readonly (readonly RgbImage[])[], config: ImageProcessorConfig): Float32Array {
  const { patchSize: patch, mergeSize: merge, temporalPatchSize } = config;
  const tables = normalisationTables(config);
  const values = groups.reduce((sum, [image]) => sum + 3 * temporalPatchSize * image!.height * image!.width, 0);
  const out = new Float32Array(values);
  let to = 0;
  for (const group of groups) {
    const rows = group[0]!.height / patch;
    const columns = group[0]!.width / patch;
    for (let windowRow = 0; windowRow < rows; windowRow += merge) {
      for (let windowColumn = 0; windowColumn < columns; windowColumn += merge) {
        for (let inner = 0; inner < merge * merge; inner++) {
          const row = windowRow + Math.floor(inner / merge);
          const column = windowColumn + (inner % merge);
          to = writePatch(group, row * patch, column * patch, patch, tables, out, to);
        }
      }
    }
  }
  return out;
}

/** Writes the patch with its top left pixel at (top, left), as (channel, time, y, x), from `out[to]` on; returns the end. */
function writePatch(
  group: readonly RgbImage[],
  top: number,
  left: number,
  patch: number,
  tables: readonly Float32Array[],
  out: Float32Array,
  to: number,
): number {
  let next = to;
  for (let channel = 0; channel < 3; channel++) {
    const table = tables[channel]!;
    for (const { data, width } of group) {
      for (let y = 0; y < patch; y++) {
        let from = ((top + y) * width + left) * 3 + channel;
        for (let x = 0; x < patch; x++, from += 3) out[next++] = table[data[from]!]!;
      }
    }
  }
  return next;
}

/** Per channel, the normalised value of every byte: (u8 - 255 mean) / (255 std) in float32 steps, the rescaling by 1/255 fused in. */
function normalisationTables({ mean, std }: ImageProcessorConfig): Float32Array[] {
  return mean.map((channelMean, channel) => {
    const offset = Math.fround(channelMean * 255);
    const divisor = Math.fround(std[channel]! * 255);
    return Float32Array.from({ length: 256 }, (_, byte) => Math.fround(byte - offset) / divisor);
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

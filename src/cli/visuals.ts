import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { InputError } from '../io/errors.ts';
import { type DecodeOptions, decodeImage, listImages, type RgbImage } from '../io/image.ts';
import { decodeVideoFrames, selectFrames } from '../io/video.ts';

/** What a command is shown: at most one of some pictures, a folder of pictures and a video. */
export interface VisualFlags {
  readonly image?: string | readonly string[];
  readonly imageDir?: string;
  readonly video?: string;
  /** Most pictures taken, evenly spread. */
  readonly maxNumFrames: number;
}

/** Pictures that were read, and how many there were to choose from. */
export interface Visuals<T> {
  readonly pictures: readonly T[];
  readonly total: number;
}

/** Refuses two sources of pictures at once, and paths that do not exist. @throws InputError */
export async function checkVisualFlags({ image, imageDir, video }: VisualFlags): Promise<void> {
  const given = Object.entries({ '--image': image, '--image-dir': imageDir, '--video': video }).filter(
    ([, path]) => path !== undefined,
  );
  if (given.length > 1) {
    throw new InputError(
      `expected at most one of --image, --image-dir and --video, found ${given.map(([flag]) => flag).join(' and ')}.`,
    );
  }
  for (const [flag, path] of given.flatMap(([flag, paths]) => [paths!].flat().map((path) => [flag, path] as const))) {
    await stat(path).catch((error: NodeJS.ErrnoException) => {
      throw new InputError(`${flag} ${path}: ${error.code === 'ENOENT' ? 'no such file or folder' : error.code}.`);
    });
  }
}

/**
 * Decodes the pictures that the flags name, none where no flag is given. `use` makes of each what is kept of it, so that many large ones need not be in memory
 * at once. @throws InputError
 */
export async function readVisuals<T>(
  { image, imageDir, video, maxNumFrames }: VisualFlags,
  decoding: DecodeOptions,
  use: (picture: RgbImage, name: string) => T,
): Promise<Visuals<T>> {
  if (video !== undefined) {
    const { frames, indices, total } = await decodeVideoFrames(video, (count) => selectFrames(count, maxNumFrames));
    return { pictures: frames.map((frame, i) => use(frame, `${basename(video)} frame ${indices[i]}`)), total };
  }
  const paths = imageDir === undefined ? [image ?? []].flat() : await listImages(imageDir);
  const pictures: T[] = [];
  for (const index of selectFrames(paths.length, maxNumFrames)) {
    const path = paths[index]!;
    pictures.push(use(await decodeImage(path, decoding), basename(path)));
  }
  return { pictures, total: paths.length };
}

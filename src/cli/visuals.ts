import { stat } from 'node:fs/promises';
import { InputError } from '../io/errors.ts';
import { decodeImage, listImages, type RgbImage } from '../io/image.ts';
import { decodeVideoFrames, selectFrames } from '../io/video.ts';

/** What a prompt shows: at most one of a picture, a folder of pictures and a video. */
export interface VisualFlags {
  readonly image?: string;
  readonly imageDir?: string;
  readonly video?: string;
  /** Most pictures taken from a folder or a video, evenly spread. */
  readonly maxNumFrames: number;
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
  for (const [flag, path] of given) {
    await stat(path!).catch((error: NodeJS.ErrnoException) => {
      throw new InputError(`${flag} ${path}: ${error.code === 'ENOENT' ? 'no such file or folder' : error.code}.`);
    });
  }
}

/** Decodes the pictures of a prompt; none where no flag is given. @throws InputError */
export async function readVisuals({ image, imageDir, video, maxNumFrames }: VisualFlags): Promise<RgbImage[]> {
  if (image !== undefined) return [await decodeImage(image)];
  if (video !== undefined) return (await decodeVideoFrames(video, (total) => selectFrames(total, maxNumFrames))).frames;
  if (imageDir === undefined) return [];
  const paths = await listImages(imageDir);
  const images: RgbImage[] = [];
  for (const index of selectFrames(paths.length, maxNumFrames)) images.push(await decodeImage(paths[index]!));
  return images;
}

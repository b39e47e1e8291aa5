import { isAbsolute, join } from 'node:path';
import { decodeImage, type RgbImage } from '../io/image.ts';
import { decodeVideoFrames, selectFrames } from '../io/video.ts';
import { findFile } from './datasets.ts';
import type { Doc } from './document.ts';
import type { Location } from './locations.ts';
import type { Task } from './task.ts';

/** Something to show: an encoded picture's bytes, or a file. */
export type Shown = { readonly picture: string | Uint8Array } | { readonly video: string };

/** What a document shows, in order. */
export interface FoundVisuals {
  readonly shown: readonly Shown[];
  /** Files that do not exist. */
  readonly missing: readonly string[];
  /** Equal for documents that show the same files; `undefined` where a picture is part of the document. */
  readonly key: string | undefined;
}

/** Looks up the files that a document shows. @throws InputError for a document without the columns of its task */
export async function findVisuals(task: Task, doc: Doc, location: Location): Promise<FoundVisuals> {
  const shown: Shown[] = [];
  const missing: string[] = [];
  for (const visual of task.visuals(doc)) {
    if ('video' in visual) {
      const candidates = filesIn(location.videoFolders, visual.video);
      const video = await findFile(candidates);
      if (video === undefined) missing.push(candidates[0]!);
      else shown.push({ video });
    } else if ('bytes' in visual.picture) {
      shown.push({ picture: visual.picture.bytes });
    } else {
      const [candidate] = filesIn([location.folder], [visual.picture.path]);
      const picture = await findFile([candidate!]);
      if (picture === undefined) missing.push(candidate!);
      else shown.push({ picture });
    }
  }
  const paths = shown.map((one) => ('video' in one ? one.video : one.picture));
  const isFiles = paths.length > 0 && paths.every((path) => typeof path === 'string');
  return { shown, missing, key: isFiles ? JSON.stringify(paths) : undefined };
}

function filesIn(folders: readonly string[], names: readonly string[]): string[] {
  return folders.flatMap((folder) => names.map((name) => (isAbsolute(name) ? name : join(folder, name))));
}

/** Pictures as the model sees them, RGB and unscaled. */
export interface Pictures {
  readonly images: readonly RgbImage[];
  /** Frames of a video or several pictures: what `--add-frame-index` numbers. */
  readonly isSequence: boolean;
}

/** The original compares endings case-sensitively: any other file, and a list of videos, is not shown at all. */
const VIDEO_ENDING = /\.(mp4|avi|mov|mkv|webm)$/;

/**
 * Decodes what a document shows: of a video all frames, or `maxNumFrames` evenly spread ones. @throws InputError for a damaged file
 */
export async function readPictures(shown: readonly Shown[], maxNumFrames: number): Promise<Pictures> {
  const [first] = shown;
  if (first !== undefined && 'video' in first) {
    if (shown.length > 1 || !VIDEO_ENDING.test(first.video)) return { images: [], isSequence: false };
    const { frames } = await decodeVideoFrames(first.video, (total) => selectFrames(total, maxNumFrames));
    return { images: frames, isSequence: true };
  }
  const images: RgbImage[] = [];
  for (const one of shown) if ('picture' in one) images.push(await decodeImage(one.picture));
  return { images, isSequence: images.length > 1 };
}

import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { InputError } from './errors.ts';
import type { RgbImage } from './image.ts';
import { linspaceFromZero } from './round.ts';

/** The frames chosen from a video: `indices` count decoded frames from 0, `fps` is unknown for some files. */
export interface VideoFrames {
  readonly frames: RgbImage[];
  readonly indices: number[];
  readonly fps: number | undefined;
  readonly total: number;
}

/** What is used of the optional package node-av (FFmpeg's libraries); its types are absent where it is not installed. */
interface NodeAv {
  AV_LOG_QUIET: number;
  Log: { setLevel(level: number): void };
  Demuxer: { open(path: string): Promise<Demuxer> };
  Decoder: { create(stream: Stream): Promise<Decoder> };
  FilterAPI: { create(description: string): Filter };
}
interface Demuxer {
  video(): Stream | undefined;
  packetsSync(stream: number): Iterable<unknown>;
  close(): Promise<void>;
}
interface Stream {
  index: number;
  nbFrames: bigint;
  avgFrameRate: { num: number; den: number };
}
interface Decoder {
  framesSync(packets: Iterable<unknown>): Iterable<Frame | null>;
  close(): void;
}
interface Filter {
  framesSync(frames: Iterable<Frame | null>): Iterable<Frame | null>;
  close(): void;
}
interface Frame {
  width: number;
  height: number;
  toBuffer(): Uint8Array;
  free(): void;
}

/** A video file, opened anew for every pass; `name` is its name in messages. */
interface Source {
  readonly av: NodeAv;
  readonly path: string;
  readonly name: string;
}

/**
 * Decodes the frames of a video file that `choose` names (indices below `total`), without rotation, converted to RGB as the ffmpeg command
 * does. The number of frames is the container's or, where it has none or one that is too large, counted by decoding; in the latter case
 * `choose` is asked again. Throws InputError if node-av is not installed or the file is missing, empty or damaged or has no video.
 */
export async function decodeVideoFrames(
  path: string,
  choose: (total: number, fps: number | undefined) => number[],
): Promise<VideoFrames> {
  const name = `video ${path}`;
  const file = await stat(path).catch((error: Error) => {
    throw new InputError(`${name} cannot be read (${error.message}).`);
  });
  if (!file.isFile() || file.size === 0)
    throw new InputError(`${name} must be a video file, found none or an empty one.`);
  // FFmpeg would take a name such as "a:b.mp4" for a protocol; an absolute path is always a file.
  const source = { av: await loadNodeAv(), path: resolve(path), name };

  const { declaredTotal, fps } = await withStream(source, (_demuxer, stream) => describeStream(stream));
  let total = declaredTotal ?? (await countFrames(source));
  let indices = choose(total, fps);
  let frames = await readFrames(source, indices);
  if (frames.size < new Set(indices).size) {
    total = await countFrames(source);
    indices = choose(total, fps);
    frames = await readFrames(source, indices);
  }
  return { frames: indices.map((index) => frames.get(index)!), indices, fps, total };
}

/** Which of `total` frames are used when at most `max` are wanted: all, or `max` evenly spread ones, rounded down. */
export function selectFrames(total: number, max: number): number[] {
  if (total <= max) return Array.from({ length: total }, (_, i) => i);
  return linspaceFromZero(total - 1, max).map(Math.trunc);
}

/** Refuses to go on where videos cannot be read. @throws InputError if node-av is not installed */
export async function checkVideoSupport(): Promise<void> {
  await loadNodeAv();
}

async function loadNodeAv(): Promise<NodeAv> {
  const packageName: string = 'node-av';
  try {
    const av = (await import(packageName)) as NodeAv;
    av.Log.setLevel(av.AV_LOG_QUIET);
    return av;
  } catch {
    throw new InputError('reading videos needs the optional package node-av: npm install node-av.');
  }
}

function describeStream({ nbFrames, avgFrameRate }: Stream): { declaredTotal?: number; fps: number | undefined } {
  const { num, den } = avgFrameRate;
  const fps = num > 0 && den > 0 ? num / den : undefined;
  return nbFrames > 0n ? { declaredTotal: Number(nbFrames), fps } : { fps };
}

/** Opens the file and its video stream for `use`; whatever FFmpeg objects to is the file's fault. */
async function withStream<Result>(
  { av, path, name }: Source,
  use: (demuxer: Demuxer, stream: Stream) => Result | Promise<Result>,
): Promise<Result> {
  try {
    const demuxer = await av.Demuxer.open(path);
    try {
      const stream = demuxer.video();
      if (!stream) throw new InputError(`${name} has no video stream.`);
      return await use(demuxer, stream);
    } finally {
      await demuxer.close();
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${name} is damaged or of an unknown format (${(error as Error).message}).`);
  }
}

/** Runs `use` over the decoded frames in display order; each must be freed. The package's asynchronous iterators need Node 22. */
function withDecodedFrames<Result>(source: Source, use: (frames: Iterable<Frame | null>) => Result): Promise<Result> {
  return withStream(source, async (demuxer, stream) => {
    const decoder = await source.av.Decoder.create(stream);
    try {
      return use(decoder.framesSync(demuxer.packetsSync(stream.index)));
    } finally {
      decoder.close();
    }
  });
}

async function countFrames(source: Source): Promise<number> {
  const total = await withDecodedFrames(source, (frames) => {
    let count = 0;
    for (const frame of frames) {
      if (frame) count++;
      frame?.free();
    }
    return count;
  });
  if (total === 0) throw new InputError(`${source.name} holds no frame that can be decoded.`);
  return total;
}

/** The wanted frames that exist, by index. */
function readFrames(source: Source, indices: readonly number[]): Promise<Map<number, RgbImage>> {
  return withDecodedFrames(source, (frames) => {
    const wanted = [...new Set(indices)].sort((a, b) => a - b);
    const toRgb = source.av.FilterAPI.create('format=rgb24');
    const images = new Map<number, RgbImage>();
    try {
      for (const frame of toRgb.framesSync(framesAt(frames, wanted))) {
        if (!frame) continue;
        const { width, height } = frame;
        images.set(wanted[images.size]!, { width, height, data: new Uint8Array(frame.toBuffer()) });
        frame.free();
      }
    } finally {
      toRgb.close();
    }
    return images;
  });
}

/** Passes on the frames at the `wanted` (ascending) indices and frees the others; stops after the last wanted one. */
function* framesAt(frames: Iterable<Frame | null>, wanted: readonly number[]): Generator<Frame | null> {
  let index = 0;
  let found = 0;
  if (wanted.length > 0) {
    for (const frame of frames) {
      if (!frame) break;
      if (index++ !== wanted[found]) {
        frame.free();
        continue;
      }
      yield frame;
      if (++found === wanted.length) break;
    }
  }
  yield null;
}

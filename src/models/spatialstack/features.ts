import type { FrameImages } from '../vggt/aggregator.ts';

/** How the encoder's tokens [frames, start + rows * columns] become features. */
export interface FeatureLayout {
  readonly frames: number;
  /** Patch rows and columns of a frame. */
  readonly rows: number;
  readonly columns: number;
  /** Special tokens before the patches. */
  readonly start: number;
  /** The encoder saw the frames in reverse order. */
  readonly reversed: boolean;
}

/** Indices of the encoder's patch tokens in raster order, special tokens left out, frames in the order of the pictures. */
export function rasterOrder({ frames, rows, columns, start, reversed }: FeatureLayout): Int32Array {
  const patches = rows * columns;
  return Int32Array.from({ length: frames * patches }, (_, i) => {
    const frame = Math.floor(i / patches);
    return (reversed ? frames - 1 - frame : frame) * (start + patches) + start + (i % patches);
  });
}

/** The same frames, last first. */
export function reverseFrames(images: FrameImages): FrameImages {
  const size = images.data.length / images.frames;
  const data = images.data.slice();
  for (let frame = 0; frame < images.frames; frame++)
    data.set(images.data.subarray(frame * size, (frame + 1) * size), (images.frames - 1 - frame) * size);
  return { ...images, data };
}

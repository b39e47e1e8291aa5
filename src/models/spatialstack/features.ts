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

/**
 * Indices of the encoder's token rows in merge-window order (spec spatialstack.md 3.1): special tokens left out, frames in the order of the
 * pictures, a last odd row or column dropped, the m x m patches of a window one after the other.
 */
export function windowOrder(layout: FeatureLayout, merge: number): Int32Array {
  const { frames, rows, columns, start, reversed } = layout;
  const index: number[] = [];
  for (let frame = 0; frame < frames; frame++) {
    const base = (reversed ? frames - 1 - frame : frame) * (start + rows * columns) + start;
    for (let br = 0; br + merge <= rows; br += merge) {
      for (let bc = 0; bc + merge <= columns; bc += merge) {
        for (let ir = 0; ir < merge; ir++) {
          for (let ic = 0; ic < merge; ic++) index.push(base + (br + ir) * columns + bc + ic);
        }
      }
    }
  }
  return Int32Array.from(index);
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
  const data = new Float32Array(images.data.length);
  for (let frame = 0; frame < images.frames; frame++) data.set(images.data.subarray(frame * size, (frame + 1) * size), (images.frames - 1 - frame) * size);
  return { ...images, data };
}

import type { PatchifyOptions } from '../../src/kernels/patchify.ts';

/** What `patchify` is given, with its pixels in host memory. */
export type PatchifyReferenceOptions = Omit<PatchifyOptions, 'dtype'>;

/**
 * The values of patches without padding, [patches, 3 * time * patch * patch], picked one by one from RGB bytes [pictures, height, width, 3] or, in f32,
 * planes [pictures, 3, height, width].
 */
export function patchify(
  pixels: Uint8Array | Float32Array,
  values: ArrayLike<number>,
  { grids, groupFrames, patch, time, merge }: PatchifyReferenceOptions,
): Float64Array {
  const out: number[] = [];
  let base = 0;
  for (const [groups, rows, columns] of grids) {
    const [height, width] = [rows * patch, columns * patch];
    const at = (frame: number, channel: number, y: number, x: number): number => {
      const pixel = (frame * height + y) * width + x;
      if (pixels instanceof Uint8Array) return values[channel * 256 + pixels[base + pixel * 3 + channel]!]!;
      const value = pixels[base + ((frame * 3 + channel) * height + y) * width + x]!;
      return (value - values[channel]!) / values[3 + channel]!;
    };
    const writePatch = (group: number, row: number, column: number) => {
      for (let channel = 0; channel < 3; channel++) {
        for (let t = 0; t < time; t++) {
          const frame = group * groupFrames + Math.min(t, groupFrames - 1);
          for (let y = 0; y < patch; y++)
            for (let x = 0; x < patch; x++) out.push(at(frame, channel, row * patch + y, column * patch + x));
        }
      }
    };
    for (let group = 0; group < groups; group++) {
      for (let top = 0; top < rows; top += merge) {
        for (let left = 0; left < columns; left += merge) {
          for (let i = 0; i < merge; i++) for (let j = 0; j < merge; j++) writePatch(group, top + i, left + j);
        }
      }
    }
    base += groups * groupFrames * height * width * 3;
  }
  return Float64Array.from(out);
}

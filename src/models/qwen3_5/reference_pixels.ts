/** Reference files hold pictures in the forms that the original's processors leave them in. Here these become pictures again. */
import type { PatchLayout } from '../../kernels/patchify.ts';
import { forEachPatch, type Grid } from './vision_positions.ts';

/** Patches [patches, 3, time, patch, patch], window by window, as the pictures [groups * time, height, width, 3] that they were cut from. */
export function joinPatches(
  patches: Uint8Array,
  grids: readonly Grid[],
  { patch, time, merge }: PatchLayout,
): Uint8Array {
  const out = new Uint8Array(patches.length);
  let from = 0;
  let base = 0;
  for (const [groups, rows, columns] of grids) {
    const [height, width] = [rows * patch, columns * patch];
    for (let group = 0; group < groups; group++, base += 3 * time * height * width) {
      forEachPatch(rows, columns, merge, (row, column) => {
        for (let channel = 0; channel < 3; channel++) {
          for (let y = 0; y < time * patch; y++) {
            const line = Math.floor(y / patch) * height + row * patch + (y % patch);
            let to = base + (line * width + column * patch) * 3 + channel;
            for (let x = 0; x < patch; x++, to += 3) out[to] = patches[from++]!;
          }
        }
      });
    }
  }
  return out;
}

/** Planes [pictures, 3, pixels] as [pictures, pixels, 3]. */
export function interleaved(planes: Uint8Array, pixels: number): Uint8Array {
  const out = new Uint8Array(planes.length);
  for (let base = 0; base < planes.length; base += 3 * pixels) {
    for (let i = 0; i < 3 * pixels; i++) out[base + (i % pixels) * 3 + Math.floor(i / pixels)] = planes[base + i]!;
  }
  return out;
}

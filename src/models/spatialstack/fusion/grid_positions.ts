import { gatherRows } from '../../../kernels/rows.ts';
import type { Device } from '../../../tensor/device.ts';
import type { CrossPositions } from './cross_attention_block.ts';
import { sincos2d } from './sincos.ts';

/** Rows and columns of a picture's tokens. */
export interface TokenGrid {
  readonly rows: number;
  readonly columns: number;
}

/**
 * Positions of `pictures` times the tokens of a grid as queries, and of the same tokens as keys, after a camera token or not. The table is one
 * larger each way: token (r, c) takes entry (r + 1, c + 1), the camera token (0, 0). f32, [tokens, width] each.
 */
export function gridPositions(
  device: Device,
  { rows, columns }: TokenGrid,
  { pictures, camera, width }: { pictures: number; camera: boolean; width: number },
): CrossPositions {
  const entries = (rows + 1) * (columns + 1);
  const table = device.upload(sincos2d(rows + 1, columns + 1, width), [entries, width], 'f32');
  const patches = Array.from(
    { length: rows * columns },
    (_, i) => (Math.floor(i / columns) + 1) * (columns + 1) + (i % columns) + 1,
  );
  const gather = (index: readonly number[]) => {
    const all = Int32Array.from({ length: pictures * index.length }, (_, i) => index[i % index.length]!);
    return gatherRows(table, device.upload(all, [all.length], 'i32'));
  };
  return { query: gather(patches), key: gather(camera ? [0, ...patches] : patches) };
}

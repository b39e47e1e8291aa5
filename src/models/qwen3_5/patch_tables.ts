import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { bilinearPositions, type Grid, patchAngles, patchCount } from './vision_positions.ts';

/** Sizes that decide where a patch's tables point. */
export interface TableSizes {
  /** Side of the table of learned positions. */
  readonly side: number;
  readonly merge: number;
  readonly headDim: number;
  readonly theta: number;
}

/** What the tower knows of the places of all patches, a row each. */
export interface PatchTables {
  /** i32 [patches, 4] and f32 [patches, 4]: taps into the learned positions. */
  readonly index: Tensor;
  readonly weights: Tensor;
  /** f32 [patches, headDim / 2, 2]: rotary (cos, sin). */
  readonly angles: Tensor;
}

/** The tables of pictures and videos. Those of one size are worked out and uploaded once, and repeated on the GPU. */
export function patchTables(device: Device, grids: readonly Grid[], sizes: TableSizes): PatchTables {
  const { side, merge, headDim, theta } = sizes;
  const patches = patchCount(grids);
  const tables = {
    index: device.tensor([patches, 4], 'i32'),
    weights: device.tensor([patches, 4]),
    angles: device.tensor([patches, headDim / 2, 2]),
  };
  const known = new Map<string, PatchTables>();
  let first = 0;
  for (const [groups, rows, columns] of grids) {
    const count = rows * columns;
    const key = `${rows}x${columns}`;
    let one = known.get(key);
    if (one === undefined) {
      const { index, weights } = bilinearPositions(rows, columns, side, merge);
      const angles = patchAngles(rows, columns, headDim, theta, merge);
      one = {
        index: device.upload(index, [count, 4], 'i32'),
        weights: device.upload(weights, [count, 4], 'f32'),
        angles: device.upload(angles, [count, headDim / 2, 2], 'f32'),
      };
      known.set(key, one);
    }
    for (let group = 0; group < groups; group++, first += count) {
      for (const name of ['index', 'weights', 'angles'] as const) {
        const width = one[name].size / count;
        device.copy(one[name], 0, tables[name], first * width, count * width);
      }
    }
  }
  return tables;
}

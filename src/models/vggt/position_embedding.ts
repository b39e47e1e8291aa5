import { resizeBicubicFloat } from '../../io/resample.ts';

/** Grids that stay in memory: pictures of a data set often take turns between a few sizes. */
const GRIDS_KEPT = 8;

/** DINOv2's learned position embedding, a row for the class token and a square grid for patches, interpolated to other grids. */
export class PositionEmbedding {
  readonly #grids = new Map<string, Float32Array>();

  /** `table` [1 + side * side, dim], filled before the first use. */
  constructor(
    readonly table: Float32Array,
    readonly side: number,
    readonly dim: number,
  ) {}

  /** The class token's row [dim]. */
  get cls(): Float32Array {
    return this.table.subarray(0, this.dim);
  }

  /** The patches' rows [rows * columns, dim] (spec vggt.md section 3: bicubic with antialias). */
  grid(rows: number, columns: number): Float32Array {
    const key = `${rows}x${columns}`;
    const known = this.#grids.get(key);
    if (known !== undefined) return known;
    const { side, dim } = this;
    const grid = resizeBicubicFloat(this.table.subarray(dim), side, side, dim, rows, columns);
    if (this.#grids.size === GRIDS_KEPT) this.#grids.delete(this.#grids.keys().next().value!);
    this.#grids.set(key, grid);
    return grid;
  }
}

/** What determines the angles of a frame's tokens. */
export interface RopeGrid {
  /** Tokens at position (0, 0) before the patches. */
  readonly specialTokens: number;
  readonly rows: number;
  readonly columns: number;
  readonly headDim: number;
  readonly base: number;
}

/**
 * (cos, sin) of the 2-D rotary embedding (Heo et al. 2024; spec vggt.md section 4.2) of every token of a frame, [specialTokens + rows *
 * columns, headDim / 2, 2]: headDim / 4 frequencies turn by the row, then as many by the column. The patch at (r, c) has position
 * (r + 1, c + 1).
 */
export function ropeTable({ specialTokens, rows, columns, headDim, base }: RopeGrid): Float32Array {
  const half = headDim / 4;
  const anglesAt = Array.from({ length: Math.max(rows, columns) + 1 }, (_, position) =>
    Float32Array.from({ length: 2 * half }, (_, i) => {
      const angle = position * base ** (-Math.floor(i / 2) / half);
      return i % 2 === 0 ? Math.cos(angle) : Math.sin(angle);
    }),
  );
  const tokens = specialTokens + rows * columns;
  const width = 4 * half;
  const table = new Float32Array(tokens * width);
  for (let token = 0; token < tokens; token++) {
    const patch = token - specialTokens;
    const row = patch < 0 ? 0 : Math.floor(patch / columns) + 1;
    const column = patch < 0 ? 0 : (patch % columns) + 1;
    table.set(anglesAt[row]!, token * width);
    table.set(anglesAt[column]!, token * width + 2 * half);
  }
  return table;
}

import type { Device } from '../tensor/device.ts';
import { grid } from '../tensor/device.ts';
import type { Constants } from '../tensor/shader.ts';
import type { MatmulVariant } from './matmul.ts';
import { tileFor, tunable } from './tuning.ts';

/** How a product is cut up. */
export interface Tiling {
  readonly constants: Constants;
  readonly workgroups: readonly number[];
  /** Workgroups that share a tile's K, and vec4s of 8 values that each of them takes. */
  readonly splits?: number;
  readonly split?: number;
}

/** Tiles of the subgroup-matrix variant, largest first: 128x128 (measured best on an H100) and 64x64 (on an H200), 4 subgroups each. */
const MATRIX_TILES = [
  tunable('matmul/subgroup_matrix large', [
    { ROWS: 4, COLUMNS: 4, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 },
    { ROWS: 2, COLUMNS: 4, GRID_ROWS: 4, GRID_COLUMNS: 2, STEP: 64 },
    { ROWS: 4, COLUMNS: 4, GRID_ROWS: 2, GRID_COLUMNS: 4, STEP: 32 },
    { ROWS: 2, COLUMNS: 2, GRID_ROWS: 4, GRID_COLUMNS: 2, STEP: 32 },
  ]),
  tunable('matmul/subgroup_matrix small', [
    { ROWS: 2, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 64 },
    { ROWS: 2, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 },
    { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 },
    { ROWS: 1, COLUMNS: 2, GRID_ROWS: 4, GRID_COLUMNS: 2, STEP: 32 },
  ]),
];
/** How the register variant works: products of a thread, down as across; rows of 16 threads; eights of K in a step. */
type RegisterTile = { readonly SIDE: number; readonly THREAD_ROWS: number; readonly STEP: number };
/** Its tile where the result is large, where it is small, and where x has so few rows that half a tile or more would be empty. */
const LARGE_REGISTER_TILE = tunable<RegisterTile>('matmul/register', [
  { SIDE: 8, THREAD_ROWS: 16, STEP: 2 },
  { SIDE: 4, THREAD_ROWS: 16, STEP: 2 },
]);
const SMALL_REGISTER_TILE: RegisterTile = { SIDE: 4, THREAD_ROWS: 16, STEP: 2 };
const LOW_REGISTER_TILES: readonly RegisterTile[] = [
  { SIDE: 4, THREAD_ROWS: 4, STEP: 4 },
  { SIDE: 4, THREAD_ROWS: 8, STEP: 4 },
];
/**
 * Rows of the weight that a workgroup of `matvec` reads side by side, an even count, its threads, and how many 16-byte pieces of 16-bit rows a thread may have
 * in flight.
 */
const WIDE_MATVEC = tunable(
  'matmul/matvec wide',
  [
    { SLOTS: 6, THREADS: 32, LOADS: 6 },
    { SLOTS: 4, THREADS: 32, LOADS: 4 },
    { SLOTS: 8, THREADS: 32, LOADS: 8 },
    { SLOTS: 6, THREADS: 64, LOADS: 6 },
    { SLOTS: 4, THREADS: 64, LOADS: 4 },
    { SLOTS: 4, THREADS: 64, LOADS: 20 },
    { SLOTS: 4, THREADS: 128, LOADS: 4 },
    { SLOTS: 2, THREADS: 32, LOADS: 20 },
  ],
  { SLOTS: 4, THREADS: 16, LOADS: 4 },
);
/** The same without subgroups, where a workgroup's sums meet in its memory. */
const WIDE_MEMORY_MATVEC = tunable(
  'matmul/matvec wide without subgroups',
  [
    { SLOTS: 4, THREADS: 128, LOADS: 4 },
    { SLOTS: 6, THREADS: 32, LOADS: 6 },
    { SLOTS: 4, THREADS: 64, LOADS: 4 },
  ],
  { SLOTS: 4, THREADS: 16, LOADS: 4 },
);
const NARROW_MATVEC = tunable(
  'matmul/matvec narrow',
  [
    { SLOTS: 2, THREADS: 128, LOADS: 2 },
    { SLOTS: 2, THREADS: 128, LOADS: 8 },
    { SLOTS: 2, THREADS: 128, LOADS: 18 },
    { SLOTS: 4, THREADS: 128, LOADS: 16 },
    { SLOTS: 2, THREADS: 256, LOADS: 4 },
    { SLOTS: 2, THREADS: 256, LOADS: 10 },
  ],
  { SLOTS: 2, THREADS: 16, LOADS: 2 },
);

/** Rows and columns of a tile of the register variant. */
function registerSides({ SIDE, THREAD_ROWS }: RegisterTile): readonly [rows: number, columns: number] {
  return [THREAD_ROWS * SIDE, 16 * SIDE];
}

/** Workgroup memory that it takes: an odd count of vec4s a row. */
function registerBytes(tile: RegisterTile): number {
  const [rows, columns] = registerSides(tile);
  return (rows + columns) * (2 * tile.STEP + 1) * 16;
}

/** As many pieces of each row at a time as LOADS allow, without leaving many of the last ones empty. */
function batch({ SLOTS, THREADS, LOADS }: { SLOTS: number; THREADS: number; LOADS: number }, k: number): Constants {
  const steps = Math.ceil(k / (8 * THREADS));
  const rounds = Math.ceil(steps / Math.max(1, Math.floor(LOADS / SLOTS)));
  const pieces = Math.ceil(steps / rounds);
  return { SLOTS, THREADS, BATCH: pieces, EXACT: pieces === 1 || k % (8 * THREADS * pieces) === 0 };
}
/** Rows of a weight from which it counts as wide. */
const WIDE_ROWS = 8192;
/** A large tile is worth it when at least this many workgroups share the work. */
const MATRIX_WORKGROUPS = 40;
const REGISTER_WORKGROUPS = 128;

/** How far the K of a tile may be shared. */
interface Sharing {
  /** Workgroups that run at a time on the largest cards measured, H100 and H200. */
  readonly slots: number;
  /** Least K of a part. */
  readonly least: number;
  /** Most parts. */
  readonly most: number;
}
const MATRIX_SHARING: Sharing = { slots: 264, least: 512, most: 4 };
/** Many small tiles have a long way through K. */
const LARGE_REGISTER_SHARING: Sharing = { slots: 264, least: 512, most: 8 };
const SMALL_REGISTER_SHARING: Sharing = { slots: 528, least: 128, most: 8 };
const LOW_REGISTER_SHARING: Sharing = { slots: 528, least: 128, most: 16 };
/** What joining one more part costs on that card, in rounds of its workgroups, for each result over K. */
const JOIN_COST = 1e-4;

/** In how many parts to split K, so that the last round of workgroups is not nearly empty: the fewest rounds, each as long as a part, and the joining. */
function chooseSplits(
  tiles: number,
  [m, n, k]: readonly [number, number, number],
  { slots, least, most }: Sharing,
): number {
  const cost = (splits: number) =>
    Math.ceil((tiles * splits) / slots) / splits + (splits === 1 ? 0 : (splits * JOIN_COST * m * n) / k);
  let best = 1;
  for (let splits = 2; splits <= most && k / splits >= least; splits++) {
    if (cost(splits) < cost(best)) best = splits;
  }
  return best;
}

/** The register variant's tile for a result of m rows and n columns. */
function registerTile(device: Device, m: number, n: number): { constants: RegisterTile; sharing: Sharing } {
  const low = LOW_REGISTER_TILES.find((tile) => m <= registerSides(tile)[0]);
  if (low !== undefined) return { constants: low, sharing: LOW_REGISTER_SHARING };
  const large = tileFor(device, LARGE_REGISTER_TILE);
  const [rows, columns] = registerSides(large);
  const count = Math.ceil(m / rows) * Math.ceil(n / columns);
  const isHalfFull = 2 * m * n >= count * rows * columns;
  const isWorthIt = count >= REGISTER_WORKGROUPS && isHalfFull;
  const fits = registerBytes(large) <= device.limits.maxComputeWorkgroupStorageSize;
  if (isWorthIt && fits && large.SIDE > SMALL_REGISTER_TILE.SIDE)
    return { constants: large, sharing: LARGE_REGISTER_SHARING };
  return { constants: SMALL_REGISTER_TILE, sharing: SMALL_REGISTER_SHARING };
}

/** The parts of K that workgroups take, whole steps of a tile each. */
function splitting(splits: number, k: number, step: number): Required<Pick<Tiling, 'splits' | 'split'>> {
  const split = Math.ceil(k / splits / step) * (step / 8);
  return { splits: Math.ceil(k / 8 / split), split };
}

/** Tile sizes and workgroup counts of a variant for [m, k] x [n, k]; `whole`: no tile's K may be shared. */
export function tile(
  device: Device,
  variant: MatmulVariant,
  [m, n, k]: readonly [number, number, number],
  { whole = false }: { whole?: boolean } = {},
): Tiling {
  switch (variant) {
    case 'naive':
      return { constants: {}, workgroups: [Math.ceil(n / 64), Math.ceil(m / 8)] };
    case 'tiled':
      return { constants: {}, workgroups: [Math.ceil(n / 32), Math.ceil(m / 16)] };
    case 'register': {
      const { constants, sharing } = registerTile(device, m, n);
      const [rows, columns] = registerSides(constants);
      const workgroups = [Math.ceil(n / columns), Math.ceil(m / rows)] as const;
      const splits = whole ? 1 : chooseSplits(workgroups[0] * workgroups[1], [m, n, k], sharing);
      const loads = (constants.STEP * (rows + columns)) / (16 * constants.THREAD_ROWS);
      return { constants: { ...constants, LOADS: loads }, workgroups, ...splitting(splits, k, 8 * constants.STEP) };
    }
    case 'subgroup_matrix': {
      const tiles = MATRIX_TILES.map((tunable) => tileFor(device, tunable));
      const counts = tiles.map(
        (t) => Math.ceil(m / (16 * t.ROWS * t.GRID_ROWS)) * Math.ceil(n / (16 * t.COLUMNS * t.GRID_COLUMNS)),
      );
      const found = counts.findIndex((count) => count >= MATRIX_WORKGROUPS);
      const best = found < 0 ? tiles.length - 1 : found;
      const splits = whole ? 1 : chooseSplits(counts[best]!, [m, n, k], MATRIX_SHARING);
      return {
        constants: { ...tiles[best]!, TAIL: k % tiles[best]!.STEP !== 0 },
        workgroups: grid(counts[best]!),
        ...splitting(splits, k, tiles[best]!.STEP),
      };
    }
    case 'matvec': {
      const wide = device.has('subgroups') ? WIDE_MATVEC : WIDE_MEMORY_MATVEC;
      const constants = tileFor(device, n >= WIDE_ROWS ? wide : NARROW_MATVEC);
      return { constants: { ...batch(constants, k), ROWS: m }, workgroups: grid(Math.ceil(n / constants.SLOTS)) };
    }
  }
}

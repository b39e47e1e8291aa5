import type { Device } from '../tensor/device.ts';
import { grid } from '../tensor/device.ts';
import type { Constants } from '../tensor/shader.ts';
import type { MatmulVariant } from './matmul.ts';
import { tileFor, tunable } from './tuning.ts';

/** Some columns of a product, and how its workgroups go about them. */
export interface Piece {
  readonly first: number;
  readonly columns: number;
  readonly constants: Constants;
  readonly workgroups: readonly number[];
  /** Workgroups that share a tile's K, and vec4s of 8 values that each of them takes. */
  readonly splits: number;
  readonly split: number;
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
/**
 * The same for operands in blocks, whose kernel knows steps of 32 only, and of which a load of all subgroups has to bring whole parts of a tile. The last one is
 * the smallest there is: a CPU can play it in tests.
 */
const BLOCKED_TILES = [
  tunable('matmul/blocked_matrix large', [
    { ROWS: 4, COLUMNS: 4, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 },
    { ROWS: 4, COLUMNS: 4, GRID_ROWS: 4, GRID_COLUMNS: 2, STEP: 32 },
    { ROWS: 2, COLUMNS: 4, GRID_ROWS: 4, GRID_COLUMNS: 2, STEP: 32 },
  ]),
  tunable('matmul/blocked_matrix small', [
    { ROWS: 2, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 2, STEP: 32 },
    { ROWS: 1, COLUMNS: 2, GRID_ROWS: 2, GRID_COLUMNS: 1, STEP: 32 },
  ]),
];
/** How the register variant works: products of a thread, down as across; rows of 16 threads; eights of K in a step. */
type RegisterTile = { readonly SIDE: number; readonly THREAD_ROWS: number; readonly STEP: number };
/** Its tile where the result is large, where it is small, and where x has so few rows that half of those or more would be empty. */
const LARGE_REGISTER_TILE = tunable<RegisterTile>('matmul/register', [
  { SIDE: 8, THREAD_ROWS: 8, STEP: 2 },
  { SIDE: 8, THREAD_ROWS: 16, STEP: 2 },
  { SIDE: 4, THREAD_ROWS: 16, STEP: 2 },
]);
const SMALL_REGISTER_TILE: RegisterTile = { SIDE: 4, THREAD_ROWS: 16, STEP: 2 };
const LOW_REGISTER_TILES: readonly { readonly tile: RegisterTile; readonly sharing: Sharing }[] = [
  { tile: { SIDE: 4, THREAD_ROWS: 4, STEP: 4 }, sharing: { slots: 528, least: 128, most: 16 } },
  { tile: { SIDE: 4, THREAD_ROWS: 8, STEP: 4 }, sharing: { slots: 396, least: 128, most: 16 } },
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
/** A large tile of matrices is worth it when at least this many workgroups share the work. */
const MATRIX_WORKGROUPS = 40;

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
/** Of the tiles that are left over when the others fill whole rounds. */
const LEFTOVER_SHARING: Sharing = { slots: 264, least: 256, most: 8 };
const REGISTER_SHARING: Sharing = { slots: 264, least: 128, most: 8 };
/** What a round of workgroups takes whose tiles have so many results, where one of small tiles (half as many) takes 1. */
const LARGE_REGISTER_ROUND = 1.6;
const LARGE_REGISTER_RESULTS = 64 * 128;
/** What joining one more part costs on that card, in rounds of its workgroups, for each result over K. */
const JOIN_COST = 1e-4;

/** What two dispatches more, and two ends of rounds instead of one, cost on that card, in rounds, times K. */
const CUT_COST = 1400;

/** A way to share the K of tiles, and what it takes, in rounds of workgroups. */
interface Split {
  readonly splits: number;
  readonly cost: number;
}

/** In how many parts to split K, so that the last round of workgroups is not nearly empty: the fewest rounds, each as long as a part, and the joining. */
function chooseSplits(
  tiles: number,
  [m, n, k]: readonly [number, number, number],
  { slots, least, most }: Sharing,
  round = 1,
): Split {
  const costOf = (splits: number) =>
    (round * Math.ceil((tiles * splits) / slots)) / splits + (splits === 1 ? 0 : (splits * JOIN_COST * m * n) / k);
  let best = { splits: 1, cost: costOf(1) };
  for (let splits = 2; splits <= most && k / splits >= least; splits++) {
    const cost = costOf(splits);
    if (cost < best.cost) best = { splits, cost };
  }
  return best;
}

/**
 * How many columns of tiles are taken whole, and in how many parts the K of the others is split: all one way, or as many whole as fill rounds of workgroups and
 * the others, which would leave most of a further round empty, shared by all of it.
 */
function chooseCut(
  [rowTiles, columnTiles]: readonly [number, number],
  [m, n, k]: readonly [number, number, number],
  width: number,
): { whole: number; splits: number } {
  const { slots } = LEFTOVER_SHARING;
  const all = chooseSplits(rowTiles * columnTiles, [m, n, k], MATRIX_SHARING);
  const uncut = { whole: all.splits === 1 ? columnTiles : 0, splits: all.splits };
  const whole = Math.floor((Math.floor((rowTiles * columnTiles) / slots) * slots) / rowTiles);
  if (whole === 0 || whole === columnTiles) return uncut;
  const rest = chooseSplits(rowTiles * (columnTiles - whole), [m, n - whole * width, k], LEFTOVER_SHARING);
  const cost = Math.ceil((rowTiles * whole) / slots) + rest.cost + CUT_COST / k;
  return rest.splits > 1 && cost < all.cost ? { whole, splits: rest.splits } : uncut;
}

/** The register variant's tile for a product, and in how many parts its K is split. */
function registerTile(
  device: Device,
  product: readonly [number, number, number],
  whole: boolean,
): { constants: RegisterTile; splits: number } {
  const [m, n] = product;
  const split = (tile: RegisterTile, sharing: Sharing, round?: number) => {
    const [rows, columns] = registerSides(tile);
    const shared = whole ? { ...sharing, most: 1 } : sharing;
    return { constants: tile, ...chooseSplits(Math.ceil(m / rows) * Math.ceil(n / columns), product, shared, round) };
  };
  const low = LOW_REGISTER_TILES.find(({ tile }) => m <= registerSides(tile)[0]);
  if (low !== undefined) return split(low.tile, low.sharing);
  const small = split(SMALL_REGISTER_TILE, REGISTER_SHARING);
  const tile = tileFor(device, LARGE_REGISTER_TILE);
  const fits = registerBytes(tile) <= device.limits.maxComputeWorkgroupStorageSize;
  if (tile.SIDE === SMALL_REGISTER_TILE.SIDE || !fits) return small;
  const [rows, columns] = registerSides(tile);
  const round = (LARGE_REGISTER_ROUND * rows * columns) / LARGE_REGISTER_RESULTS;
  const large = split(tile, REGISTER_SHARING, round);
  return large.cost < small.cost ? large : small;
}

/** The parts of K that workgroups take, whole steps of a tile each. */
function splitting(splits: number, k: number, step: number): Pick<Piece, 'splits' | 'split'> {
  const split = Math.ceil(k / splits / step) * (step / 8);
  return { splits: Math.ceil(k / 8 / split), split };
}

/** Whether a variant multiplies on subgroup matrices. */
export function onMatrices(variant: MatmulVariant): variant is 'blocked_matrix' | 'subgroup_matrix' {
  return variant === 'subgroup_matrix' || variant === 'blocked_matrix';
}

/** Tiles of a product on matrices, down and across. */
function matrixTiles({ ROWS, COLUMNS, GRID_ROWS, GRID_COLUMNS }: Constants, m: number, n: number): [number, number] {
  return [
    Math.ceil(m / (16 * Number(ROWS) * Number(GRID_ROWS))),
    Math.ceil(n / (16 * Number(COLUMNS) * Number(GRID_COLUMNS))),
  ];
}

/** Products on matrices, in one piece or two. */
function matrixPieces(
  device: Device,
  variant: 'blocked_matrix' | 'subgroup_matrix',
  [m, n, k]: readonly [number, number, number],
  isWhole: boolean,
): Piece[] {
  const candidates = variant === 'blocked_matrix' ? BLOCKED_TILES : MATRIX_TILES;
  const sizes = candidates.map((tunable) => tileFor(device, tunable));
  const enough = sizes.find((size) => {
    const [rows, columns] = matrixTiles(size, m, n);
    return rows * columns >= MATRIX_WORKGROUPS;
  });
  const size = enough ?? sizes.at(-1)!;
  const [rowTiles, columnTiles] = matrixTiles(size, m, n);
  const width = 16 * size.COLUMNS * size.GRID_COLUMNS;
  const constants = { ...size, ...(variant === 'subgroup_matrix' && { TAIL: k % size.STEP !== 0 }) };
  const { whole, splits } = isWhole
    ? { whole: columnTiles, splits: 1 }
    : chooseCut([rowTiles, columnTiles], [m, n, k], width);
  const piece = (from: number, to: number, splits: number): Piece => ({
    first: from * width,
    columns: Math.min(n, to * width) - from * width,
    constants,
    workgroups: grid(rowTiles * (to - from)),
    ...splitting(splits, k, size.STEP),
  });
  return [
    ...(whole > 0 ? [piece(0, whole, 1)] : []),
    ...(whole < columnTiles ? [piece(whole, columnTiles, splits)] : []),
  ];
}

/** The pieces in which a variant makes [m, k] x [n, k]; `whole`: no tile's K may be shared. */
export function pieces(
  device: Device,
  variant: MatmulVariant,
  [m, n, k]: readonly [number, number, number],
  { whole = false }: { whole?: boolean } = {},
): Piece[] {
  const all = { first: 0, columns: n, splits: 1, split: 0 };
  switch (variant) {
    case 'naive':
      return [{ ...all, constants: {}, workgroups: [Math.ceil(n / 64), Math.ceil(m / 8)] }];
    case 'tiled':
      return [{ ...all, constants: {}, workgroups: [Math.ceil(n / 32), Math.ceil(m / 16)] }];
    case 'register': {
      const { constants, splits } = registerTile(device, [m, n, k], whole);
      const [rows, columns] = registerSides(constants);
      const loads = (constants.STEP * (rows + columns)) / (16 * constants.THREAD_ROWS);
      return [
        {
          ...all,
          constants: { ...constants, LOADS: loads },
          workgroups: [Math.ceil(n / columns), Math.ceil(m / rows)],
          ...splitting(splits, k, 8 * constants.STEP),
        },
      ];
    }
    case 'blocked_matrix':
    case 'subgroup_matrix':
      return matrixPieces(device, variant, [m, n, k], whole);
    case 'matvec': {
      const wide = device.has('subgroups') ? WIDE_MATVEC : WIDE_MEMORY_MATVEC;
      const constants = tileFor(device, n >= WIDE_ROWS ? wide : NARROW_MATVEC);
      const workgroups = grid(Math.ceil(n / constants.SLOTS));
      return [{ ...all, constants: { ...batch(constants, k), ROWS: m }, workgroups }];
    }
  }
}

/** [time groups, patch rows, patch columns] of a picture or video. */
export type Grid = readonly [number, number, number];

/** Consecutive pictures or time groups of one size: `segments` of `tokens` patches from patch `start` on. */
export interface Run {
  readonly start: number;
  readonly segments: number;
  readonly tokens: number;
}

/** Calls `visit` with the (row, column) of every patch of a picture, window by window as the tower sees them (spec qwen3_5_vision.md 3.3). */
export function forEachPatch(
  rows: number,
  columns: number,
  merge: number,
  visit: (row: number, column: number) => void,
): void {
  for (let br = 0; br < rows; br += merge) {
    for (let bc = 0; bc < columns; bc += merge) {
      for (let ir = 0; ir < merge; ir++) {
        for (let ic = 0; ic < merge; ic++) visit(br + ir, bc + ic);
      }
    }
  }
}

/** Patches of all pictures together. */
export function patchCount(grids: readonly Grid[]): number {
  return grids.reduce((sum, [gt, gh, gw]) => sum + gt * gh * gw, 0);
}

/** For each of `count` places along one axis, the table's places before and after it and the weight of the latter, in f32 as the reference (5.2). */
function axisTaps(count: number, side: number): { low: Int32Array; high: Int32Array; weight: Float64Array } {
  const { fround } = Math;
  const places = Float32Array.from({ length: count }, (_, i) => (i * (side - 1)) / Math.max(count - 1, 1));
  const low = Int32Array.from(places, Math.floor);
  return {
    low,
    high: low.map((place) => Math.min(place + 1, side - 1)),
    weight: Float64Array.from(places, (place, i) => fround(place - low[i]!)),
  };
}

/** Bilinear taps of a picture into a `side` x `side` table of learned positions: 4 rows and weights a patch, in f32 as the reference (5.2). */
export function bilinearPositions(
  rows: number,
  columns: number,
  side: number,
  merge: number,
): { index: Int32Array; weights: Float32Array } {
  const index = new Int32Array(rows * columns * 4);
  const weights = new Float32Array(index.length);
  const [y, x] = [axisTaps(rows, side), axisTaps(columns, side)];
  let at = 0;
  const tap = (place: number, weight: number) => {
    index[at] = place;
    weights[at++] = weight;
  };
  forEachPatch(rows, columns, merge, (row, column) => {
    const [top, bottom] = [y.low[row]! * side, y.high[row]! * side];
    const [left, right] = [x.low[column]!, x.high[column]!];
    const [fy, fx] = [y.weight[row]!, x.weight[column]!];
    tap(top + left, (1 - fy) * (1 - fx));
    tap(top + right, (1 - fy) * fx);
    tap(bottom + left, fy * (1 - fx));
    tap(bottom + right, fy * fx);
  });
  return { index, weights };
}

/** Rotary (cos, sin) of every patch of a picture: [patches, headDim / 2, 2], the first half of the angles by row, the rest by column (5.3). */
export function patchAngles(
  rows: number,
  columns: number,
  headDim: number,
  theta: number,
  merge: number,
): Float32Array {
  const { fround } = Math;
  const frequencies = Array.from({ length: headDim / 4 }, (_, j) =>
    fround(1 / fround(theta ** fround((2 * j) / (headDim / 2)))),
  );
  const turns = Array.from({ length: Math.max(rows, columns) }, (_, position) =>
    Float32Array.from({ length: headDim / 2 }, (_, i) => {
      const angle = fround(position * frequencies[i >> 1]!);
      return i % 2 === 0 ? Math.cos(angle) : Math.sin(angle);
    }),
  );
  const table = new Float32Array(rows * columns * headDim);
  let at = 0;
  forEachPatch(rows, columns, merge, (row, column) => {
    table.set(turns[row]!, at);
    table.set(turns[column]!, at + headDim / 2);
    at += headDim;
  });
  return table;
}

/** Runs of equal pictures or time groups, which one attention dispatch can serve. */
export function equalRuns(grids: readonly Grid[]): Run[] {
  const runs: Run[] = [];
  let start = 0;
  for (const [gt, gh, gw] of grids) {
    const tokens = gh * gw;
    const last = runs.at(-1);
    if (last?.tokens === tokens) runs[runs.length - 1] = { ...last, segments: last.segments + gt };
    else runs.push({ start, segments: gt, tokens });
    start += gt * tokens;
  }
  return runs;
}

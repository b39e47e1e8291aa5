/** [time groups, patch rows, patch columns] of a picture or video. */
export type Grid = readonly [number, number, number];

/** Consecutive pictures or time groups of one size: `segments` of `tokens` patches from patch `start` on. */
export interface Run {
  readonly start: number;
  readonly segments: number;
  readonly tokens: number;
}

/** Calls `visit` with the (row, column) of every patch, window by window as the tower sees them (spec qwen3_5_vision.md 3.3). */
function forEachPatch(
  grids: readonly Grid[],
  merge: number,
  visit: (row: number, column: number, gh: number, gw: number) => void,
): void {
  for (const [gt, gh, gw] of grids) {
    for (let t = 0; t < gt; t++) {
      for (let br = 0; br < gh; br += merge) {
        for (let bc = 0; bc < gw; bc += merge) {
          for (let ir = 0; ir < merge; ir++) {
            for (let ic = 0; ic < merge; ic++) visit(br + ir, bc + ic, gh, gw);
          }
        }
      }
    }
  }
}

function patchCount(grids: readonly Grid[]): number {
  return grids.reduce((sum, [gt, gh, gw]) => sum + gt * gh * gw, 0);
}

/** Bilinear taps into a `side` x `side` table of learned positions: 4 rows and weights a patch, in f32 as the reference (5.2). */
export function bilinearPositions(
  grids: readonly Grid[],
  side: number,
  merge: number,
): { index: Int32Array; weights: Float32Array } {
  const index = new Int32Array(patchCount(grids) * 4);
  const weights = new Float32Array(index.length);
  let at = 0;
  const { fround } = Math;
  forEachPatch(grids, merge, (row, column, gh, gw) => {
    const y = fround((row * (side - 1)) / Math.max(gh - 1, 1));
    const x = fround((column * (side - 1)) / Math.max(gw - 1, 1));
    const [y0, x0] = [Math.floor(y), Math.floor(x)];
    const [fy, fx] = [fround(y - y0), fround(x - x0)];
    for (const [dy, wy] of [
      [0, 1 - fy],
      [1, fy],
    ] as const) {
      for (const [dx, wx] of [
        [0, 1 - fx],
        [1, fx],
      ] as const) {
        index[at] = Math.min(y0 + dy, side - 1) * side + Math.min(x0 + dx, side - 1);
        weights[at++] = wy * wx;
      }
    }
  });
  return { index, weights };
}

/** Rotary (cos, sin) of every patch: [patches, headDim / 2, 2], the first half of the angles by row, the rest by column (5.3). */
export function patchAngles(grids: readonly Grid[], headDim: number, theta: number, merge: number): Float32Array {
  const { fround } = Math;
  const quarter = headDim / 4;
  const frequencies = Array.from({ length: quarter }, (_, j) =>
    fround(1 / fround(theta ** fround((2 * j) / (headDim / 2)))),
  );
  const table = new Float32Array(patchCount(grids) * headDim);
  let at = 0;
  forEachPatch(grids, merge, (row, column) => {
    for (const position of [row, column]) {
      for (const frequency of frequencies) {
        const angle = fround(position * frequency);
        table[at++] = Math.cos(angle);
        table[at++] = Math.sin(angle);
      }
    }
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

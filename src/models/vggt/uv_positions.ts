/** Weight of the embedding beside the map it is added to. */
const RATIO = 0.1;
const BASE = 100;

/** Sines, then cosines, of a coordinate at `dim / 2` frequencies, [coordinates, dim]. */
function sinesAndCosines(coordinates: readonly number[], dim: number): number[] {
  const quarter = dim / 2;
  return coordinates.flatMap((coordinate) => {
    const angles = Array.from({ length: quarter }, (_, k) => coordinate * BASE ** (-k / quarter));
    return [...angles.map(Math.sin), ...angles.map(Math.cos)];
  });
}

/**
 * The embedding by which the DPT heads tell pixels their place (spec vggt.md section 6), times 0.1: a row of channels / 2 values for every
 * column of a map, then one for every row, [width + height, channels / 2]. Coordinates lie on a rectangle of the picture's aspect (width over
 * height) whose diagonal is 2.
 */
export function uvPositions(height: number, width: number, channels: number, aspect: number): Float32Array {
  const diagonal = Math.hypot(aspect, 1);
  const places = (count: number, half: number) => {
    const end = (half * (count - 1)) / count;
    return Array.from({ length: count }, (_, i) => (count === 1 ? -end : -end + (2 * end * i) / (count - 1)));
  };
  const columns = sinesAndCosines(places(width, aspect / diagonal), channels / 2);
  const rows = sinesAndCosines(places(height, 1 / diagonal), channels / 2);
  return Float32Array.from([...columns, ...rows], (value) => RATIO * value);
}

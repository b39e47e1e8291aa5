/** Weight of the embedding beside the map it is added to. */
const RATIO = 0.1;
const BASE = 100;

/** Maps of the frames of one prediction, for each of which there is one embedding. */
const MOST_KEPT = 16;
const kept = new Map<string, Float32Array>();

/** `count` evenly spread coordinates that end a little before -half and half. */
function places(count: number, half: number): number[] {
  const end = (half * (count - 1)) / count;
  return Array.from({ length: count }, (_, i) => (count === 1 ? -end : -end + (2 * end * i) / (count - 1)));
}

/**
 * The embedding by which the DPT heads tell pixels their place (spec vggt.md section 6), times 0.1: a row of channels / 2 values (sines, then
 * cosines) for every column of a map, then one for every row, [width + height, channels / 2]. Coordinates lie on a rectangle of the picture's
 * aspect (width over height) whose diagonal is 2. The result is shared: do not write to it.
 */
export function uvPositions(height: number, width: number, channels: number, aspect: number): Float32Array {
  const key = `${height}x${width}x${channels} ${aspect}`;
  const known = kept.get(key);
  if (known !== undefined) return known;
  const diagonal = Math.hypot(aspect, 1);
  const coordinates = [...places(width, aspect / diagonal), ...places(height, 1 / diagonal)];
  const quarter = channels / 4;
  const frequencies = Float64Array.from({ length: quarter }, (_, k) => BASE ** (-k / quarter));
  const positions = new Float32Array((coordinates.length * channels) / 2);
  coordinates.forEach((coordinate, row) => {
    frequencies.forEach((frequency, k) => {
      const at = 2 * quarter * row + k;
      positions[at] = RATIO * Math.sin(coordinate * frequency);
      positions[at + quarter] = RATIO * Math.cos(coordinate * frequency);
    });
  });
  if (kept.size === MOST_KEPT) kept.delete(kept.keys().next().value!);
  kept.set(key, positions);
  return positions;
}

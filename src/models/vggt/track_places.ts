/** (x, y) in pixels. */
export type Place = readonly [x: number, y: number];

/** Neighbours of a coordinate in a row of `size` pixels, moved to the border if it lies beyond, and the weight of the second. */
function neighbours(coordinate: number, size: number): [low: number, high: number, weight: number] {
  const clamped = Math.min(Math.max(Math.fround(coordinate), 0), size - 1);
  const low = Math.min(Math.floor(clamped), size - 1);
  return [low, Math.min(low + 1, size - 1), clamped - low];
}

/** Bilinear interpolation of a map [height * width, C] at some places: four rows and their weights for each, [places, 4]. */
export function sampleTaps(
  places: readonly Place[],
  [height, width]: readonly [number, number],
): { index: Int32Array; weights: Float32Array } {
  const taps = places.flatMap(([x, y]) => {
    const [x0, x1, u] = neighbours(x, width);
    const [y0, y1, v] = neighbours(y, height);
    return [
      [y0 * width + x0, (1 - u) * (1 - v)],
      [y0 * width + x1, u * (1 - v)],
      [y1 * width + x0, (1 - u) * v],
      [y1 * width + x1, u * v],
    ] as const;
  });
  return { index: Int32Array.from(taps, ([index]) => index), weights: Float32Array.from(taps, ([, weight]) => weight) };
}

/** Sines, then cosines, of a pixel index at dim / 2 frequencies. */
function axisEmbedding(index: number, dim: number): Float32Array {
  const half = dim / 2;
  return Float32Array.from({ length: dim }, (_, i) => {
    const angle = index * 10000 ** (-(i % half) / half);
    return i < half ? Math.sin(angle) : Math.cos(angle);
  });
}

/**
 * The 2-D sine and cosine table of a map, bilinearly sampled at some places: [places, dim], the x axis in the first half (spec vggt.md section 7.3). Each
 * half of the table depends on one coordinate only, so each is interpolated along its own axis.
 */
export function placeEmbedding(
  places: readonly Place[],
  [height, width]: readonly [number, number],
  dim: number,
): Float32Array {
  const out = new Float32Array(places.length * dim);
  places.forEach(([x, y], n) => {
    for (const [axis, [low, high, weight]] of [neighbours(x, width), neighbours(y, height)].entries()) {
      const [a, b] = [axisEmbedding(low, dim / 2), axisEmbedding(high, dim / 2)];
      out.set(
        a.map((value, i) => (1 - weight) * value + weight * b[i]!),
        n * dim + (axis * dim) / 2,
      );
    }
  });
  return out;
}

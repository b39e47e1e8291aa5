/** Sizes of `correlationReference`. */
export interface CorrelationSizes {
  readonly map: readonly [number, number, number, number];
  readonly tracks: number;
  readonly allFrames: number;
  readonly firstFrame: number;
  readonly scale: number;
  readonly radius: number;
}

/** Naive twin of `correlation`, in double: every sample by itself, [tracks, frames of the map, side * side]. */
export function correlationReference(
  map: ArrayLike<number>,
  features: ArrayLike<number>,
  coords: ArrayLike<number>,
  sizes: CorrelationSizes,
): Float64Array {
  const [frames, height, width, channels] = sizes.map;
  const { tracks, allFrames, firstFrame, scale, radius } = sizes;
  const side = 2 * radius + 1;
  const out = new Float64Array(tracks * frames * side * side);
  let at = 0;
  for (let n = 0; n < tracks; n++) {
    for (let s = 0; s < frames; s++) {
      const token = n * allFrames + firstFrame + s;
      const corr = (x: number, y: number): number => {
        if (x < 0 || x >= width || y < 0 || y >= height) return 0;
        let sum = 0;
        for (let c = 0; c < channels; c++)
          sum += features[token * channels + c]! * map[((s * height + y) * width + x) * channels + c]!;
        return sum / Math.sqrt(channels);
      };
      for (let a = 0; a < side; a++) {
        for (let b = 0; b < side; b++) {
          const x = width === 1 ? 0 : coords[2 * token]! * scale + a - radius;
          const y = height === 1 ? 0 : coords[2 * token + 1]! * scale + b - radius;
          const [x0, y0] = [Math.floor(x), Math.floor(y)];
          const [u, v] = [x - x0, y - y0];
          out[at++] =
            (1 - u) * (1 - v) * corr(x0, y0) +
            u * (1 - v) * corr(x0 + 1, y0) +
            (1 - u) * v * corr(x0, y0 + 1) +
            u * v * corr(x0 + 1, y0 + 1);
        }
      }
    }
  }
  return out;
}

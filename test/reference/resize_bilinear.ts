/** Naive twin of `resizeBilinear`, in double: x [frames, h, w, channels] to [frames, height, width, channels], corners aligned. */
export function resizeBilinearReference(
  x: ArrayLike<number>,
  [frames, h, w, channels]: readonly [number, number, number, number],
  [height, width]: readonly [number, number],
): Float64Array {
  const out = new Float64Array(frames * height * width * channels);
  const taps = (i: number, from: number, to: number): [number, number, number] => {
    const source = to === 1 ? 0 : (i * (from - 1)) / (to - 1);
    const low = Math.min(Math.floor(source), from - 1);
    return [low, Math.min(low + 1, from - 1), source - low];
  };
  let at = 0;
  for (let s = 0; s < frames; s++) {
    for (let y = 0; y < height; y++) {
      const [y0, y1, v] = taps(y, h, height);
      for (let column = 0; column < width; column++) {
        const [x0, x1, u] = taps(column, w, width);
        for (let c = 0; c < channels; c++) {
          const p = (row: number, place: number) => x[((s * h + row) * w + place) * channels + c]!;
          out[at++] = (1 - v) * ((1 - u) * p(y0, x0) + u * p(y0, x1)) + v * ((1 - u) * p(y1, x0) + u * p(y1, x1));
        }
      }
    }
  }
  return out;
}

/** Interleaved sines and cosines of z times a linear ladder of `dim / 2` frequencies; products rounded to f32 as in the original. */
function embedded(z: number, dim: number): number[] {
  return Array.from({ length: dim / 2 }, (_, k) => {
    const angle = Math.fround(z * Math.fround(2 * k * Math.fround(1000 / dim)));
    return [Math.sin(angle), Math.cos(angle)];
  }).flat();
}

/** Naive twin of `trackTokens`: [tracks, frames, 3 * channels + 4]. */
export function trackTokensReference(
  {
    coords,
    corr,
    features,
    positions,
    reference,
  }: Record<'coords' | 'corr' | 'features' | 'positions' | 'reference', Float32Array>,
  [tracks, frames, channels]: readonly [number, number, number],
  maxScale: number,
): Float64Array {
  const width = 3 * channels + 4;
  const out = new Float64Array(tracks * frames * width);
  for (let n = 0; n < tracks; n++) {
    for (let s = 0; s < frames; s++) {
      const token = n * frames + s;
      const [x, y] = [0, 1].map((axis) => Math.fround(coords[2 * token + axis]! - coords[2 * n * frames + axis]!)) as [
        number,
        number,
      ];
      const slice = (values: Float32Array) => [...values.subarray(token * channels, (token + 1) * channels)];
      const scaled = [x / maxScale, y / maxScale];
      const parts = [
        ...embedded(x, channels / 2),
        ...embedded(y, channels / 2),
        ...scaled,
        ...scaled,
        ...slice(corr),
        ...slice(features),
      ];
      parts.forEach((value, i) => {
        out[token * width + i] = value + positions[n * width + i]! + reference[Math.min(s, 1) * width + i]!;
      });
    }
  }
  return out;
}

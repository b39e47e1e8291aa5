/** Naive twin of `trackUpdate`: the moved coords [tracks, frames, 2]. */
export function trackUpdateReference(
  coords: ArrayLike<number>,
  delta: ArrayLike<number>,
  frames: number,
  width: number,
): Float64Array {
  return Float64Array.from({ length: coords.length }, (_, i) => {
    const token = Math.floor(i / 2);
    return coords[i]! + (token % frames === 0 ? 0 : delta[token * width + (i % 2)]!);
  });
}

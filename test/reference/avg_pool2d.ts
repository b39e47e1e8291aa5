/** Naive twin of `avgPool2d`, in double: x [frames, height, width, channels]. */
export function avgPool2dReference(
  x: ArrayLike<number>,
  [frames, height, width, channels]: readonly [number, number, number, number],
): Float64Array {
  const [h, w] = [Math.floor(height / 2), Math.floor(width / 2)];
  return Float64Array.from({ length: frames * h * w * channels }, (_, i) => {
    const c = i % channels;
    const column = Math.floor(i / channels) % w;
    const y = Math.floor(i / channels / w) % h;
    const s = Math.floor(i / channels / w / h);
    let sum = 0;
    for (const dy of [0, 1])
      for (const dx of [0, 1]) sum += x[((s * height + 2 * y + dy) * width + 2 * column + dx) * channels + c]!;
    return sum / 4;
  });
}

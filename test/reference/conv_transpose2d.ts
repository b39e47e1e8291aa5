/** Naive twin of `convTranspose2d`, in double: x [frames, height, width, channels], w [channels, outputs, k, k]. */
export function convTranspose2dReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  bias: ArrayLike<number>,
  [frames, height, width, channels]: readonly [number, number, number, number],
  k: number,
): Float64Array {
  const outputs = bias.length;
  const out = new Float64Array(frames * height * k * width * k * outputs);
  for (let s = 0; s < frames; s++)
    for (let y = 0; y < height; y++)
      for (let column = 0; column < width; column++)
        for (let o = 0; o < outputs; o++)
          for (let dy = 0; dy < k; dy++)
            for (let dx = 0; dx < k; dx++) {
              let sum = bias[o]!;
              for (let c = 0; c < channels; c++) {
                sum +=
                  x[((s * height + y) * width + column) * channels + c]! * w[((c * outputs + o) * k + dy) * k + dx]!;
              }
              out[((s * height * k + y * k + dy) * width * k + column * k + dx) * outputs + o] = sum;
            }
  return out;
}

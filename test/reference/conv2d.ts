/** What `conv2dReference` convolves. */
export interface ConvolutionSizes {
  /** [frames, height, width, channels] of x. */
  readonly x: readonly [number, number, number, number];
  readonly outputs: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: { top: number; bottom: number; left: number; right: number };
}

/** Naive twin of `conv2d`, in double: x channels last, w [outputs, channels, kernel, kernel]; the sum and its bias, without what is fused around. */
export function conv2dReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  sizes: ConvolutionSizes,
): Float64Array {
  const [frames, height, width, channels] = sizes.x;
  const { outputs, kernel, stride, padding } = sizes;
  const outHeight = Math.floor((height + padding.top + padding.bottom - kernel) / stride) + 1;
  const outWidth = Math.floor((width + padding.left + padding.right - kernel) / stride) + 1;
  const out = new Float64Array(frames * outHeight * outWidth * outputs);
  let at = 0;
  for (let s = 0; s < frames; s++) {
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++) {
        for (let o = 0; o < outputs; o++) {
          let sum = bias?.[o] ?? 0;
          for (let ky = 0; ky < kernel; ky++) {
            for (let kx = 0; kx < kernel; kx++) {
              const y = oy * stride + ky - padding.top;
              const column = ox * stride + kx - padding.left;
              if (y < 0 || y >= height || column < 0 || column >= width) continue;
              for (let c = 0; c < channels; c++) {
                sum +=
                  x[((s * height + y) * width + column) * channels + c]! *
                  w[((o * channels + c) * kernel + ky) * kernel + kx]!;
              }
            }
          }
          out[at++] = sum;
        }
      }
    }
  }
  return out;
}

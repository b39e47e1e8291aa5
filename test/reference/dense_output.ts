/** Naive twin of `denseOutput`, in double: [pixels, outputs] of which the last column is the confidence. */
export function denseOutputReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  bias: ArrayLike<number>,
  activation: 'exp' | 'inv_log',
): Float64Array {
  const outputs = bias.length;
  const channels = w.length / outputs;
  return Float64Array.from({ length: (x.length / channels) * outputs }, (_, i) => {
    const [pixel, o] = [Math.floor(i / outputs), i % outputs];
    let z = bias[o]!;
    for (let c = 0; c < channels; c++) z += x[pixel * channels + c]! * w[o * channels + c]!;
    if (o === outputs - 1) return 1 + Math.exp(z);
    return activation === 'exp' ? Math.exp(z) : Math.sign(z) * Math.expm1(Math.abs(z));
  });
}

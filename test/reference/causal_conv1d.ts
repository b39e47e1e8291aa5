/** Causal depthwise convolution with SiLU in double: `u` [T, C], `weight` [C, K], `state` [C, K - 1]; returns y [T, C] and the next state. */
export function causalConv1dReference(
  u: Float32Array,
  weight: Float32Array,
  state: Float32Array,
  sizes: { tokens: number; channels: number; kernelSize: number },
): { y: Float64Array; state: Float32Array } {
  const { tokens, channels, kernelSize } = sizes;
  const before = kernelSize - 1;
  const y = new Float64Array(tokens * channels);
  const next = new Float32Array(channels * before);
  for (let c = 0; c < channels; c++) {
    const x: number[] = [];
    for (let j = 0; j < before; j++) x.push(state[c * before + j]!);
    for (let t = 0; t < tokens; t++) x.push(u[t * channels + c]!);
    for (let t = 0; t < tokens; t++) {
      let sum = 0;
      for (let k = 0; k < kernelSize; k++) sum += weight[c * kernelSize + k]! * x[t + k]!;
      y[t * channels + c] = sum / (1 + Math.exp(-sum));
    }
    for (let j = 0; j < before; j++) next[c * before + j] = x[tokens + j]!;
  }
  return { y, state: next };
}

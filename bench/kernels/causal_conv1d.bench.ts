import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { causalConv1d, convolvedLinear } from '../../src/kernels/causal_conv1d.ts';
import { causalConv1dReference } from '../../test/reference/causal_conv1d.ts';
import { linearReference } from '../../test/reference/matmul.ts';
import { rmsNorm } from '../../test/reference/rms_norm.ts';

/** Hidden size, channels and row length of the fused projection of a Qwen3.5-4B delta-net layer: q, k, v | z | b | a. */
const HIDDEN = 2560;
const CHANNELS = 8192;
const STRIDE = 8192 + 4096 + 64;
const TAPS = 4;

const sequence = kernelBench({
  name: 'causal_conv1d',
  variant: 'sequence',
  sizes: 2048,
  reduced: 30,
  describe: (tokens) => `T=${tokens} C=${CHANNELS} K=${TAPS}`,
  setup: (device, tokens) => {
    const u = randomTensor(device, [tokens, STRIDE]);
    const weight = randomTensor(device, [CHANNELS, TAPS]);
    const state = randomTensor(device, [CHANNELS, TAPS - 1]);
    const operands = [u, weight, state];
    return {
      operands,
      run: () => causalConv1d(u, { channels: CHANNELS, stride: STRIDE, offset: 0 }, weight, state),
      expected: async () => {
        const [rows, w, s] = await Promise.all(operands.map(floatValues));
        const columns = rows!.filter((_, i) => i % STRIDE < CHANNELS);
        return causalConv1dReference(columns, w!, s!, { tokens, channels: CHANNELS, kernelSize: TAPS }).y;
      },
    };
  },
});

/** One token: norm, projection and convolution in one. Only the last tap counts, since every run moves the state on. */
const step = kernelBench({
  name: 'causal_conv1d',
  variant: 'matvec',
  sizes: HIDDEN,
  reduced: 264,
  describe: (k) => `1x${STRIDE}x${k} bf16 weights, C=${CHANNELS} K=${TAPS}`,
  setup: (device, k) => {
    const x = randomTensor(device, [1, k]);
    const projection = randomTensor(device, [STRIDE, k], 'bf16', 0.1);
    const normWeight = randomTensor(device, [k]);
    const taps = Float32Array.from({ length: CHANNELS * TAPS }, (_, i) => (i % TAPS === TAPS - 1 ? 0.5 : 0));
    const weight = device.upload(taps, [CHANNELS, TAPS], 'f32');
    const state = randomTensor(device, [CHANNELS, TAPS - 1]);
    const norm = { weight: normWeight, eps: 1e-6, weightOffset: 1, dtype: 'f32' } as const;
    return {
      operands: [x, projection, normWeight, weight, state],
      work: { flops: 2 * STRIDE * k, bytes: projection.byteLength + weight.byteLength + 2 * state.byteLength },
      run: () => convolvedLinear(x, projection, norm, { weight, state }).y,
      expected: async () => {
        const normed = Float32Array.from(rmsNorm(await floatValues(x), await floatValues(normWeight), norm.eps, 1));
        const product = linearReference(normed, await floatValues(projection), [1, STRIDE, k]);
        return causalConv1dReference(
          Float32Array.from(product.subarray(0, CHANNELS)),
          taps,
          new Float32Array(CHANNELS * (TAPS - 1)),
          { tokens: 1, channels: CHANNELS, kernelSize: TAPS },
        ).y;
      },
    };
  },
});

/** One decoding step, as part of the product before it, and a prefill. */
export const benches: readonly KernelBench[] = [step, sequence];

import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { causalConv1d } from '../../src/kernels/causal_conv1d.ts';
import { causalConv1dReference } from '../../test/reference/causal_conv1d.ts';

/** Channels and row length of the fused projection of a Qwen3.5-4B delta-net layer: q, k, v | z | b | a. */
const CHANNELS = 8192;
const STRIDE = 8192 + 4096 + 64;
const TAPS = 4;

function bench(variant: string, tokens: number): KernelBench {
  return kernelBench({
    name: 'causal_conv1d',
    variant,
    sizes: tokens,
    reduced: Math.min(tokens, 30),
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
}

/** One decoding step and a prefill. */
export const benches: readonly KernelBench[] = [bench('step', 1), bench('sequence', 2048)];

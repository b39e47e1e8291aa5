import { causalConv1d } from '../../src/kernels/causal_conv1d.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

/** Channels and row length of the fused projection of a Qwen3.5-4B delta-net layer: q, k, v | z | b | a. */
const CHANNELS = 8192;
const STRIDE = 8192 + 4096 + 64;
const TAPS = 4;

function bench(variant: string, tokens: number): KernelBench {
  return {
    name: 'causal_conv1d',
    variant,
    shape: `T=${tokens} C=${CHANNELS} K=${TAPS}`,
    setup(device) {
      const u = randomTensor(device, [tokens, STRIDE]);
      const weight = randomTensor(device, [CHANNELS, TAPS]);
      const state = randomTensor(device, [CHANNELS, TAPS - 1]);
      const view = { channels: CHANNELS, stride: STRIDE, offset: 0 };
      return {
        flops: tokens * CHANNELS * (2 * TAPS + 4),
        bytes: 4 * CHANNELS * (2 * tokens + TAPS + 2 * (TAPS - 1)),
        run: () => void causalConv1d(u, view, weight, state),
        dispose: () => {
          for (const tensor of [u, weight, state]) device.dispose(tensor);
        },
      };
    },
  };
}

/** One decoding step and a prefill. */
export const benches: readonly KernelBench[] = [bench('step', 1), bench('sequence', 2048)];

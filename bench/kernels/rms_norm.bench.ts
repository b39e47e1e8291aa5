import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { rmsNorm } from '../../src/kernels/rms_norm.ts';
import { rmsNorm as rmsNormReference } from '../../test/reference/rms_norm.ts';

const DIM = 2560;

function bench(dtype: 'f32' | 'f16', tokens: number): KernelBench {
  return kernelBench({
    name: 'rms_norm',
    variant: dtype,
    sizes: tokens,
    reduced: Math.min(tokens, 5),
    describe: (tokens) => `T=${tokens} D=${DIM}`,
    setup: (device, tokens) => {
      const x = randomTensor(device, [tokens, DIM]);
      const weight = randomTensor(device, [DIM]);
      return {
        operands: [x, weight],
        run: () => rmsNorm(x, weight, { eps: 1e-6, weightOffset: 1, dtype }),
        expected: async () => rmsNormReference(await floatValues(x), await floatValues(weight), 1e-6, 1),
      };
    },
  });
}

/** The input norm of a Qwen3.5-4B layer: one decoding step and a prefill. */
export const benches: readonly KernelBench[] = [
  bench('f32', 1),
  bench('f16', 1),
  bench('f32', 2048),
  bench('f16', 2048),
];

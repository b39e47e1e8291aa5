import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { layerNorm } from '../../src/kernels/layer_norm.ts';
import { layerNorm as layerNormReference } from '../../test/reference/layer_norm.ts';

const DIM = 1024;

function bench(dtype: 'f32' | 'f16', tokens: number): KernelBench {
  return kernelBench({
    name: 'layer_norm',
    variant: dtype,
    sizes: tokens,
    reduced: 37,
    describe: (tokens) => `T=${tokens} D=${DIM}`,
    setup: (device, tokens) => {
      const x = randomTensor(device, [tokens, DIM]);
      const weight = randomTensor(device, [DIM]);
      const bias = randomTensor(device, [DIM]);
      const operands = [x, weight, bias];
      return {
        operands,
        run: () => layerNorm(x, { weight, bias, eps: 1e-5, dtype }),
        expected: async () => {
          const [xs, ws, bs] = await Promise.all(operands.map(floatValues));
          return layerNormReference(xs!, DIM, 1e-5, ws!, bs!);
        },
      };
    },
  });
}

/** A block of VGGT-1B for 8 frames of 518x392. */
export const benches: readonly KernelBench[] = [bench('f32', 8 * 1041), bench('f16', 8 * 1041)];

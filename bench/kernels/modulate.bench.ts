import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { modulate } from '../../src/kernels/modulate.ts';
import { modulateReference } from '../../test/reference/modulate.ts';

const DIM = 2048;

/** VGGT-1B's camera head for 32 frames. */
export const benches: readonly KernelBench[] = [
  kernelBench({
    name: 'modulate',
    variant: 'f32',
    sizes: 32,
    reduced: 3,
    describe: (tokens) => `T=${tokens} D=${DIM}`,
    setup: (device, tokens) => {
      const [x, normed] = [randomTensor(device, [tokens, DIM]), randomTensor(device, [tokens, DIM])];
      const modulation = randomTensor(device, [tokens, 3 * DIM]);
      const operands = [x, normed, modulation];
      return {
        operands,
        run: () => modulate(x, normed, modulation),
        expected: async () => {
          const [xs, ns, ms] = await Promise.all(operands.map(floatValues));
          return modulateReference(xs!, ns!, ms!, DIM);
        },
      };
    },
  }),
];

import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { argmax } from '../../src/kernels/argmax.ts';
import { argmaxReference } from '../../test/reference/argmax.ts';

function bench(rows: number): KernelBench {
  return kernelBench({
    name: 'argmax',
    variant: 'two stages',
    sizes: { rows, columns: 248320 },
    reduced: { rows, columns: 5000 },
    describe: ({ rows, columns }) => `T=${rows} V=${columns}`,
    setup: (device, { rows, columns }) => {
      const x = randomTensor(device, [rows, columns]);
      return {
        operands: [x],
        run: () => argmax(x),
        expected: async () => argmaxReference(await floatValues(x), rows, columns),
      };
    },
  });
}

/** Qwen3.5's vocabulary: one decoding step, and a batch of positions. */
export const benches: readonly KernelBench[] = [bench(1), bench(64)];

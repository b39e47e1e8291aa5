import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { gatherRows, scatterRows } from '../../src/kernels/rows.ts';
import { gatherRows as gatherReference, scatterRows as scatterReference } from '../../test/reference/rows.ts';

const DIM = 2560;

interface Sizes {
  readonly rows: number;
  readonly count: number;
}

function bench(variant: 'gather' | 'scatter' | 'scatter add'): KernelBench {
  const add = variant === 'scatter add';
  return kernelBench<Sizes>({
    name: 'rows',
    variant,
    sizes: { rows: 4096, count: 2048 },
    reduced: { rows: 32, count: 16 },
    describe: ({ rows, count }) => `N=${rows} n=${count} D=${DIM}`,
    setup: (device, { rows, count }) => {
      const x = randomTensor(device, [rows, DIM]);
      const replacing = randomTensor(device, [count, DIM]);
      const places = Int32Array.from({ length: count }, (_, i) => (i * (rows / 2 - 1)) % rows);
      const index = device.upload(places, [count], 'i32');
      return {
        operands: [x, replacing, index],
        run: () => {
          if (variant === 'gather') return gatherRows(x, index);
          scatterRows(x, index, replacing, { add });
          return x;
        },
        expected: async () => {
          const xs = await floatValues(x);
          return variant === 'gather'
            ? gatherReference(xs, places, DIM)
            : scatterReference(xs, places, await floatValues(replacing), DIM, add);
        },
      };
    },
  });
}

/** Image features taking their places among Qwen3.5-4B's token embeddings. */
export const benches: readonly KernelBench[] = [bench('gather'), bench('scatter'), bench('scatter add')];

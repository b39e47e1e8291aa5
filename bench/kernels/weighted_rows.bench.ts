import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { weightedRows } from '../../src/kernels/weighted_rows.ts';
import { weightedRows as weightedRowsReference } from '../../test/reference/weighted_rows.ts';

const ROWS = 48 * 48;
const DIM = 1024;
const TERMS = 4;

/** Position embeddings of the vision tower of Qwen3.5-4B for an image of 1024x1024. */
export const benches: readonly KernelBench[] = [
  kernelBench({
    name: 'weighted_rows',
    variant: 'f32',
    sizes: 4096,
    reduced: 20,
    describe: (count) => `n=${count} k=${TERMS} V=${ROWS} D=${DIM}`,
    setup: (device, count) => {
      const table = randomTensor(device, [ROWS, DIM]);
      const weights = randomTensor(device, [count, TERMS]);
      const spread = Int32Array.from({ length: count * TERMS }, (_, i) => (i * 331) % ROWS);
      const index = device.upload(spread, [count, TERMS], 'i32');
      const addTo = randomTensor(device, [count, DIM]);
      return {
        operands: [table, weights, index, addTo],
        run: () => weightedRows(table, index, weights, { addTo }),
        expected: async () => {
          const added = await floatValues(addTo);
          const sums = weightedRowsReference(await floatValues(table), DIM, spread, await floatValues(weights), TERMS);
          return sums.map((sum, i) => sum + added[i]!);
        },
      };
    },
  }),
];

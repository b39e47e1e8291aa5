import { weightedRows } from '../../src/kernels/weighted_rows.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const ROWS = 48 * 48;
const DIM = 1024;
const TERMS = 4;

function bench(count: number): KernelBench {
  return {
    name: 'weighted_rows',
    variant: 'f32',
    shape: `n=${count} k=${TERMS} V=${ROWS} D=${DIM}`,
    setup(device) {
      const table = randomTensor(device, [ROWS, DIM]);
      const weights = randomTensor(device, [count, TERMS]);
      const spread = Int32Array.from({ length: count * TERMS }, (_, i) => (i * 331) % ROWS);
      const index = device.upload(spread, [count, TERMS], 'i32');
      const addTo = randomTensor(device, [count, DIM]);
      return {
        flops: count * DIM * (2 * TERMS + 1),
        bytes: 4 * ROWS * DIM + 8 * count * TERMS + 8 * count * DIM,
        run: () => void weightedRows(table, index, weights, { addTo }),
        dispose: () => {
          for (const tensor of [table, weights, index, addTo]) device.dispose(tensor);
        },
      };
    },
  };
}

/** Position embeddings of the vision tower of Qwen3.5-4B for an image of 1024x1024. */
export const benches: readonly KernelBench[] = [bench(4096)];

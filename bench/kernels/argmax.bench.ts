import { argmax } from '../../src/kernels/argmax.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

function bench(rows: number, columns: number): KernelBench {
  return {
    name: 'argmax',
    variant: 'two stages',
    shape: `T=${rows} V=${columns}`,
    setup(device) {
      const x = randomTensor(device, [rows, columns]);
      return {
        flops: rows * columns,
        bytes: 4 * (rows * columns + rows),
        run: () => void argmax(x),
        dispose: () => device.dispose(x),
      };
    },
  };
}

/** Qwen3.5's vocabulary: one decoding step, and a batch of positions. */
export const benches: readonly KernelBench[] = [bench(1, 248320), bench(64, 248320)];

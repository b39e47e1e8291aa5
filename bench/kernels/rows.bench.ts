import { gatherRows, scatterRows } from '../../src/kernels/rows.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const ROWS = 4096;
const COUNT = 2048;
const DIM = 2560;

function bench(variant: 'gather' | 'scatter' | 'scatter add'): KernelBench {
  return {
    name: 'rows',
    variant,
    shape: `N=${ROWS} n=${COUNT} D=${DIM}`,
    setup(device) {
      const x = randomTensor(device, [ROWS, DIM]);
      const rows = randomTensor(device, [COUNT, DIM]);
      const index = device.upload(
        Int32Array.from({ length: COUNT }, (_, i) => (i * 2047) % ROWS),
        [COUNT],
        'i32',
      );
      const add = variant === 'scatter add';
      return {
        flops: add ? COUNT * DIM : 0,
        bytes: COUNT * (4 + (add ? 12 : 8) * DIM),
        run: () => (variant === 'gather' ? void gatherRows(x, index) : scatterRows(x, index, rows, { add })),
        dispose: () => {
          for (const tensor of [x, rows, index]) device.dispose(tensor);
        },
      };
    },
  };
}

/** Image features taking their places among Qwen3.5-4B's token embeddings. */
export const benches: readonly KernelBench[] = [bench('gather'), bench('scatter'), bench('scatter add')];

import { modulate } from '../../src/kernels/modulate.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const [TOKENS, DIM] = [32, 2048];

/** VGGT-1B's camera head for 32 frames. */
export const benches: readonly KernelBench[] = [
  {
    name: 'modulate',
    variant: 'f32',
    shape: `T=${TOKENS} D=${DIM}`,
    setup(device) {
      const [x, normed] = [randomTensor(device, [TOKENS, DIM]), randomTensor(device, [TOKENS, DIM])];
      const modulation = randomTensor(device, [TOKENS, 3 * DIM]);
      return {
        flops: 4 * x.size,
        bytes: 6 * x.byteLength,
        run: () => void modulate(x, normed, modulation),
        dispose: () => {
          for (const tensor of [x, normed, modulation]) device.dispose(tensor);
        },
      };
    },
  },
];

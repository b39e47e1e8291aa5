import { avgPool2d } from '../../src/kernels/avg_pool2d.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const SHAPE = [8, 196, 259, 128] as const;

/** The first halving of VGGT-1B's tracking features, 8 frames of 518x392. */
export const benches: readonly KernelBench[] = [
  {
    name: 'avg_pool2d',
    variant: '2x2',
    shape: SHAPE.join('x'),
    setup(device) {
      const x = randomTensor(device, SHAPE);
      return {
        flops: x.size,
        bytes: 1.25 * x.byteLength,
        run: () => void avgPool2d(x),
        dispose: () => device.dispose(x),
      };
    },
  },
];

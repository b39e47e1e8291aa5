import { type StridedCopyOptions, stridedCopy } from '../../src/kernels/strided_copy.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const FRAMES = 8;
const PATCHES = 1036;
const DIM = 1024;

function bench(variant: string, options: StridedCopyOptions): KernelBench {
  return {
    name: 'strided_copy',
    variant,
    shape: options.sizes.join('x'),
    setup(device) {
      const source = randomTensor(device, [FRAMES * PATCHES * DIM]);
      const target = device.tensor([FRAMES * PATCHES * 2 * DIM]);
      return {
        flops: 0,
        bytes: 8 * FRAMES * PATCHES * DIM,
        run: () => stridedCopy(source, target, options),
        dispose: () => {
          for (const tensor of [source, target]) device.dispose(tensor);
        },
      };
    },
  };
}

/** VGGT-1B for 8 frames of 518x392: frame features beside global ones, and patches brought into windows of 2x2. */
export const benches: readonly KernelBench[] = [
  bench('concatenation', {
    sizes: [1, 1, FRAMES * PATCHES, DIM],
    sourceStrides: [0, 0, DIM, 1],
    targetStrides: [0, 0, 2 * DIM, 1],
    targetOffset: DIM,
  }),
  bench('windows', {
    sizes: [(FRAMES * PATCHES) / 74, 2, 37, DIM],
    sourceStrides: [74 * DIM, 37 * DIM, DIM, 1],
    targetStrides: [74 * DIM, DIM, 2 * DIM, 1],
  }),
];

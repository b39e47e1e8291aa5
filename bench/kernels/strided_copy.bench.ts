import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { type StridedCopyOptions, stridedCopy } from '../../src/kernels/strided_copy.ts';
import { stridedCopy as stridedCopyReference } from '../../test/reference/strided_copy.ts';

const DIM = 1024;
const WIDTH = 37;

/** `rows` counts patch rows of all frames together. */
function bench(variant: string, optionsFor: (rows: number) => StridedCopyOptions): KernelBench {
  return kernelBench({
    name: 'strided_copy',
    variant,
    sizes: 8 * 28,
    reduced: 2,
    describe: (rows) => optionsFor(rows).sizes.join('x'),
    setup: (device, rows) => {
      const options = optionsFor(rows);
      const source = randomTensor(device, [rows * WIDTH * DIM]);
      const target = randomTensor(device, [2 * rows * WIDTH * DIM]);
      return {
        operands: [source, target],
        run: () => {
          stridedCopy(source, target, options);
          return target;
        },
        expected: async () => {
          const { sizes, sourceStrides, targetStrides, sourceOffset = 0, targetOffset = 0 } = options;
          const [from, to] = [await floatValues(source), await floatValues(target)];
          return stridedCopyReference(from, to, sizes, sourceStrides, targetStrides, sourceOffset, targetOffset);
        },
      };
    },
  });
}

/** VGGT-1B for 8 frames of 518x392: frame features beside global ones, and patches brought into windows of 2x2. */
export const benches: readonly KernelBench[] = [
  bench('concatenation', (rows) => ({
    sizes: [1, 1, rows * WIDTH, DIM],
    sourceStrides: [0, 0, DIM, 1],
    targetStrides: [0, 0, 2 * DIM, 1],
    targetOffset: DIM,
  })),
  bench('windows', (rows) => ({
    sizes: [rows / 2, 2, WIDTH, DIM],
    sourceStrides: [2 * WIDTH * DIM, WIDTH * DIM, DIM, 1],
    targetStrides: [2 * WIDTH * DIM, DIM, 2 * DIM, 1],
  })),
];

import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { avgPool2d } from '../../src/kernels/avg_pool2d.ts';
import { avgPool2dReference } from '../../test/reference/avg_pool2d.ts';

type Shape = readonly [number, number, number, number];

/** The first halving of VGGT-1B's tracking features, 8 frames of 518x392. */
const SHAPE: Shape = [8, 196, 259, 128];

export const benches: readonly KernelBench[] = [
  kernelBench<Shape>({
    name: 'avg_pool2d',
    variant: '2x2',
    sizes: SHAPE,
    reduced: [2, 13, 17, 128],
    describe: (shape) => shape.join('x'),
    setup: (device, shape) => {
      const x = randomTensor(device, shape);
      return {
        operands: [x],
        run: () => avgPool2d(x),
        expected: async () => avgPool2dReference(await floatValues(x), shape),
      };
    },
  }),
];

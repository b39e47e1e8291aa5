import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { type AxisOrder, permute } from '../../src/kernels/permute.ts';
import { permuteReference } from '../../test/reference/permute.ts';

type Shape = readonly [number, number, number];

function bench(dtype: 'f32' | 'f16', shape: Shape, order: AxisOrder): KernelBench {
  return kernelBench<Shape>({
    name: 'permute',
    variant: dtype,
    sizes: shape,
    reduced: [20, 18, shape[2]],
    describe: (shape) => `${shape.join('x')} as ${order.join('')}`,
    setup: (device, shape) => {
      const x = randomTensor(device, shape);
      return {
        operands: [x],
        run: () => permute(x, { from: shape, order, shape: order.map((axis) => shape[axis]) }, dtype),
        expected: async () => permuteReference(await floatValues(x), shape, order),
      };
    },
  });
}

/** Weights of VGGT-1B's DPT: a 3x3 convolution, the largest one, a transposed one. */
export const benches: readonly KernelBench[] = [
  bench('f32', [256, 256, 9], [0, 2, 1]),
  bench('f16', [256, 256, 9], [0, 2, 1]),
  bench('f16', [1024, 1024, 9], [0, 2, 1]),
  bench('f32', [256, 256, 16], [2, 1, 0]),
];

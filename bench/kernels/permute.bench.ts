import { type AxisOrder, permute } from '../../src/kernels/permute.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

function bench(dtype: 'f32' | 'f16', shape: readonly [number, number, number], order: AxisOrder): KernelBench {
  return {
    name: 'permute',
    variant: dtype,
    shape: `${shape.join('x')} as ${order.join('')}`,
    setup(device) {
      const x = randomTensor(device, shape);
      return {
        flops: 0,
        bytes: x.size * (dtype === 'f16' ? 6 : 8),
        run: () => void permute(x, order, dtype),
        dispose: () => device.dispose(x),
      };
    },
  };
}

/** Weights of VGGT-1B's DPT: a 3x3 convolution, the largest one, a transposed one. */
export const benches: readonly KernelBench[] = [
  bench('f32', [256, 256, 9], [0, 2, 1]),
  bench('f16', [256, 256, 9], [0, 2, 1]),
  bench('f16', [1024, 1024, 9], [0, 2, 1]),
  bench('f32', [256, 256, 16], [2, 1, 0]),
];

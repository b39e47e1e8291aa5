import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { type DenseActivation, denseOutput } from '../../src/kernels/dense_output.ts';
import { denseOutputReference } from '../../test/reference/dense_output.ts';

const CHANNELS = 32;

interface Shape {
  readonly height: number;
  readonly width: number;
  readonly outputs: number;
}

function bench(activation: DenseActivation, outputs: number): KernelBench {
  return kernelBench<Shape>({
    name: 'dense_output',
    variant: activation,
    sizes: { height: 392, width: 518, outputs },
    reduced: { height: 9, width: 31, outputs },
    describe: ({ height, width, outputs }) => `${height}x${width} ${CHANNELS}>${outputs}`,
    setup: (device, { height, width, outputs }) => {
      const x = randomTensor(device, [1, height, width, CHANNELS]);
      const weight = randomTensor(device, [outputs, CHANNELS, 1, 1]);
      const bias = randomTensor(device, [outputs]);
      const operands = [x, weight, bias];
      return {
        operands,
        run: () => {
          const [value, confidence] = denseOutput(x, weight, bias, activation);
          device.dispose(confidence);
          return value;
        },
        expected: async () => {
          const [xs, ws, bs] = await Promise.all(operands.map(floatValues));
          return denseOutputReference(xs!, ws!, bs!, activation).filter((_, i) => i % outputs < outputs - 1);
        },
      };
    },
  });
}

/** The ends of VGGT-1B's depth and point heads, one frame of 518x392. */
export const benches: readonly KernelBench[] = [bench('exp', 2), bench('inv_log', 4)];

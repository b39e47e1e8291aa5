import { type DenseActivation, denseOutput } from '../../src/kernels/dense_output.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const [HEIGHT, WIDTH, CHANNELS] = [392, 518, 32];

function bench(activation: DenseActivation, outputs: number): KernelBench {
  return {
    name: 'dense_output',
    variant: activation,
    shape: `${HEIGHT}x${WIDTH} ${CHANNELS}>${outputs}`,
    setup(device) {
      const x = randomTensor(device, [1, HEIGHT, WIDTH, CHANNELS]);
      const weight = randomTensor(device, [outputs, CHANNELS, 1, 1]);
      const bias = randomTensor(device, [outputs]);
      return {
        flops: 2 * x.size * outputs,
        bytes: x.byteLength + 4 * HEIGHT * WIDTH * outputs,
        run: () => void denseOutput(x, weight, bias, activation),
        dispose: () => {
          for (const tensor of [x, weight, bias]) device.dispose(tensor);
        },
      };
    },
  };
}

/** The ends of VGGT-1B's depth and point heads, one frame of 518x392. */
export const benches: readonly KernelBench[] = [bench('exp', 2), bench('inv_log', 4)];

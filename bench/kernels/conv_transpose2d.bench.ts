import { convTranspose2d } from '../../src/kernels/conv_transpose2d.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const [FRAMES, HEIGHT, WIDTH] = [8, 28, 37];

function bench(operand: 'f32' | 'f16', channels: number, k: number): KernelBench {
  return {
    name: 'conv_transpose2d',
    variant: operand,
    shape: `${FRAMES}x${HEIGHT}x${WIDTH} C=${channels} k=${k}`,
    setup(device) {
      const x = randomTensor(device, [FRAMES, HEIGHT, WIDTH, channels]);
      const weight = randomTensor(device, [channels, channels, k, k]);
      const bias = randomTensor(device, [channels]);
      return {
        flops: 2 * (x.size * channels * k * k),
        bytes: x.byteLength * (1 + k * k) + weight.byteLength,
        run: () => void convTranspose2d(x, weight, { bias, operand }),
        dispose: () => {
          for (const tensor of [x, weight, bias]) device.dispose(tensor);
        },
      };
    },
  };
}

/** The two upsampling layers of VGGT-1B's DPT for 8 frames of 518x392. */
export const benches: readonly KernelBench[] = (['f32', 'f16'] as const).flatMap((operand) => [
  bench(operand, 256, 4),
  bench(operand, 512, 2),
]);

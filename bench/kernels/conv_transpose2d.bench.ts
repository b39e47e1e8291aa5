import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { blocksFirst, convTranspose2d } from '../../src/kernels/conv_transpose2d.ts';
import { permute } from '../../src/kernels/permute.ts';
import { convTranspose2dReference } from '../../test/reference/conv_transpose2d.ts';

interface Shape {
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly k: number;
}

function bench(operand: 'f32' | 'f16', channels: number, k: number): KernelBench {
  return kernelBench<Shape>({
    name: 'conv_transpose2d',
    variant: operand,
    sizes: { frames: 8, height: 28, width: 37, channels, k },
    reduced: { frames: 1, height: 5, width: 3, channels: 64, k },
    describe: ({ frames, height, width, channels, k }) => `${frames}x${height}x${width} C=${channels} k=${k}`,
    setup: (device, { frames, height, width, channels, k }) => {
      const size = [frames, height, width, channels] as const;
      const x = randomTensor(device, size);
      const stored = randomTensor(device, [channels, channels, k, k]);
      const weight = permute(stored, blocksFirst(stored.shape), operand);
      const bias = randomTensor(device, [channels]);
      const operands = [x, stored, bias];
      return {
        operands: [...operands, weight],
        work: { flops: 2 * x.size * channels * k * k, bytes: x.byteLength * (1 + k * k) + weight.byteLength },
        run: () => convTranspose2d(x, weight, bias),
        expected: async () => {
          const [xs, ws, bs] = await Promise.all(operands.map(floatValues));
          return convTranspose2dReference(xs!, ws!, bs!, size, k);
        },
      };
    },
  });
}

/** The two upsampling layers of VGGT-1B's DPT for 8 frames of 518x392. */
export const benches: readonly KernelBench[] = (['f32', 'f16'] as const).flatMap((operand) => [
  bench(operand, 256, 4),
  bench(operand, 512, 2),
]);

import { type KernelBench, kernelBench, randomTensor, SkippedBench } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import {
  CONV2D_VARIANTS,
  type Conv2dVariant,
  conv2d,
  conv2dOperand,
  conv2dSupports,
  tapsFirst,
} from '../../src/kernels/conv2d.ts';
import { permute } from '../../src/kernels/permute.ts';
import { conv2dReference } from '../../test/reference/conv2d.ts';

interface Shape {
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly outputs: number;
  readonly kernel: 1 | 3;
  readonly stride: 1 | 2;
}

function bench(variant: Conv2dVariant, shape: Shape): KernelBench {
  return kernelBench({
    name: 'conv2d',
    variant,
    sizes: shape,
    reduced: { ...shape, frames: 1, height: 8, width: 6, channels: 64, outputs: Math.min(shape.outputs, 64) },
    describe: ({ frames, height, width, channels, outputs, kernel, stride }) =>
      `${frames}x${height}x${width} ${channels}>${outputs} k${kernel} s${stride}`,
    setup: (device, { frames, height, width, channels, outputs, kernel, stride }) => {
      if (!conv2dSupports(device, variant, { channels, outputs }))
        throw new SkippedBench('this variant needs subgroup matrices');
      const size = [frames, height, width, channels] as const;
      const x = randomTensor(device, size, variant === 'subgroup_matrix' ? 'f16' : 'f32');
      const stored = randomTensor(device, [outputs, channels, kernel, kernel]);
      const weight = permute(stored, tapsFirst(stored.shape), conv2dOperand(variant));
      const padding = (kernel - 1) / 2;
      const pixels = (frames * height * width) / stride ** 2;
      return {
        operands: [x, stored, weight],
        work: {
          flops: 2 * pixels * outputs * channels * kernel ** 2,
          bytes: x.byteLength + weight.byteLength + 4 * pixels * outputs,
        },
        run: () => conv2d(x, weight, { padding, stride, variant }),
        expected: async () => {
          const sides = { top: padding, bottom: padding, left: padding, right: padding };
          const sizes = { x: size, outputs, kernel, stride, padding: sides };
          return conv2dReference(await floatValues(x), await floatValues(stored), undefined, sizes);
        },
      };
    },
  });
}

/** The DPT of VGGT-1B for frames of 518x392: a residual unit at each size, both ends of the head, and the strided convolution; then a size for a CPU. */
const SHAPES: readonly Shape[] = [
  { frames: 8, height: 112, width: 148, channels: 256, outputs: 256, kernel: 3, stride: 1 },
  { frames: 8, height: 28, width: 37, channels: 256, outputs: 256, kernel: 3, stride: 1 },
  { frames: 8, height: 224, width: 296, channels: 256, outputs: 128, kernel: 3, stride: 1 },
  { frames: 1, height: 392, width: 518, channels: 128, outputs: 32, kernel: 3, stride: 1 },
  { frames: 8, height: 28, width: 36, channels: 1024, outputs: 1024, kernel: 3, stride: 2 },
  { frames: 8, height: 112, width: 148, channels: 256, outputs: 256, kernel: 1, stride: 1 },
  { frames: 1, height: 14, width: 18, channels: 256, outputs: 256, kernel: 3, stride: 1 },
];

export const benches: readonly KernelBench[] = CONV2D_VARIANTS.flatMap((variant) =>
  SHAPES.map((shape) => bench(variant, shape)),
);

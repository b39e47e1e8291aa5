import { type Conv2dVariant, conv2d, conv2dSupports } from '../../src/kernels/conv2d.ts';
import { type KernelBench, randomTensor, SkippedBench } from '../harness.ts';

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
  const { frames, height, width, channels, outputs, kernel, stride } = shape;
  const halves = variant === 'subgroup_matrix';
  return {
    name: 'conv2d',
    variant,
    shape: `${frames}x${height}x${width} ${channels}>${outputs} k${kernel} s${stride}`,
    setup(device) {
      if (!conv2dSupports(device, variant, channels)) throw new SkippedBench('not supported by this device');
      const x = randomTensor(device, [frames, height, width, channels], halves ? 'f16' : 'f32');
      const weight = randomTensor(device, [outputs, channels, kernel, kernel]);
      const pixels = (frames * height * width) / stride ** 2;
      return {
        flops: 2 * pixels * outputs * channels * kernel ** 2,
        bytes: x.byteLength + weight.byteLength + 4 * pixels * outputs,
        run: () => void conv2d(x, weight, { padding: (kernel - 1) / 2, stride, variant }),
        dispose: () => {
          for (const tensor of [x, weight]) device.dispose(tensor);
        },
      };
    },
  };
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

export const benches: readonly KernelBench[] = (['register', 'subgroup_matrix'] as const).flatMap((variant) =>
  SHAPES.map((shape) => bench(variant, shape)),
);

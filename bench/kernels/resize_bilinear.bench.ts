import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { resizeBilinear } from '../../src/kernels/resize_bilinear.ts';
import { resizeBilinearReference } from '../../test/reference/resize_bilinear.ts';

interface Shape {
  readonly frames: number;
  readonly from: readonly [number, number];
  readonly to: readonly [number, number];
  readonly channels: number;
}

/** The twin does not know the position embedding: at the reduced size it is left out. */
function bench(shape: Shape, dtype: 'f32' | 'f16', hasPositions: boolean): KernelBench {
  const reduced: Shape = { ...shape, frames: 1, from: [9, 11], to: [15, 19] };
  return kernelBench<Shape>({
    name: 'resize_bilinear',
    variant: dtype,
    sizes: shape,
    reduced,
    describe: (sizes) =>
      `${sizes.frames}x${sizes.from.join('x')}>${sizes.to.join('x')} C=${sizes.channels}${hasPositions && sizes !== reduced ? ' +pos' : ''}`,
    setup: (device, sizes) => {
      const { frames, from, to, channels } = sizes;
      const x = randomTensor(device, [frames, ...from, channels]);
      const positions = randomTensor(device, [to[0] + to[1], channels / 2]);
      const wantsPositions = hasPositions && sizes !== reduced;
      return {
        operands: [x, positions],
        run: () => resizeBilinear(x, to, { dtype, ...(wantsPositions && { positions }) }),
        expected: async () => resizeBilinearReference(await floatValues(x), [frames, ...from, channels], to),
      };
    },
  });
}

/** VGGT-1B's DPT for frames of 518x392: the last fusion of 8 frames, and full resolution of one. */
const FUSION: Shape = { frames: 8, from: [112, 148], to: [224, 296], channels: 256 };
const FULL: Shape = { frames: 1, from: [224, 296], to: [392, 518], channels: 128 };

export const benches: readonly KernelBench[] = [
  bench(FUSION, 'f32', false),
  bench(FULL, 'f32', true),
  bench(FULL, 'f16', true),
];

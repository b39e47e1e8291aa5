import { resizeBilinear } from '../../src/kernels/resize_bilinear.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

interface Shape {
  readonly frames: number;
  readonly from: readonly [number, number];
  readonly to: readonly [number, number];
  readonly channels: number;
  readonly dtype: 'f32' | 'f16';
  readonly hasPositions: boolean;
}

function bench({ frames, from, to, channels, dtype, hasPositions }: Shape): KernelBench {
  return {
    name: 'resize_bilinear',
    variant: dtype,
    shape: `${frames}x${from.join('x')}>${to.join('x')} C=${channels}${hasPositions ? ' +pos' : ''}`,
    setup(device) {
      const x = randomTensor(device, [frames, ...from, channels]);
      const positions = randomTensor(device, [to[0] + to[1], channels / 2]);
      const values = frames * to[0] * to[1] * channels;
      return {
        flops: 9 * values,
        bytes: x.byteLength + values * (dtype === 'f16' ? 2 : 4),
        run: () => void resizeBilinear(x, to, { dtype, ...(hasPositions && { positions }) }),
        dispose: () => {
          for (const tensor of [x, positions]) device.dispose(tensor);
        },
      };
    },
  };
}

/** VGGT-1B's DPT for frames of 518x392: the last fusion of 8 frames, and full resolution of one. */
export const benches: readonly KernelBench[] = [
  bench({ frames: 8, from: [112, 148], to: [224, 296], channels: 256, dtype: 'f32', hasPositions: false }),
  bench({ frames: 1, from: [224, 296], to: [392, 518], channels: 128, dtype: 'f32', hasPositions: true }),
  bench({ frames: 1, from: [224, 296], to: [392, 518], channels: 128, dtype: 'f16', hasPositions: true }),
];

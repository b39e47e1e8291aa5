import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { correlation } from '../../src/kernels/correlation.ts';
import { correlationReference } from '../../test/reference/correlation.ts';

const [FRAMES, CHANNELS, RADIUS] = [8, 128, 4];
const SIDE = 2 * RADIUS + 1;

interface Shape {
  readonly tracks: number;
  readonly height: number;
  readonly width: number;
}

function bench(height: number, width: number): KernelBench {
  return kernelBench<Shape>({
    name: 'correlation',
    variant: `radius ${RADIUS}`,
    sizes: { tracks: 256, height, width },
    reduced: { tracks: 5, height: 24, width: 32 },
    describe: ({ tracks, height, width }) => `N=${tracks} S=${FRAMES} ${height}x${width} C=${CHANNELS}`,
    setup: (device, { tracks, height, width }) => {
      const size = [FRAMES, height, width, CHANNELS] as const;
      const map = randomTensor(device, size);
      const features = randomTensor(device, [tracks, FRAMES, CHANNELS]);
      const places = Float32Array.from(
        { length: 2 * tracks * FRAMES },
        (_, i) => Math.random() * (i % 2 === 0 ? width : height),
      );
      const coords = device.upload(places, [tracks, FRAMES, 2], 'f32');
      const out = device.tensor([tracks, FRAMES, SIDE ** 2]);
      const window = { firstFrame: 0, scale: 1, radius: RADIUS };
      return {
        operands: [map, features, coords, out],
        run: () => {
          correlation(map, features, coords, out, { ...window, column: 0 });
          return out;
        },
        expected: async () =>
          correlationReference(await floatValues(map), await floatValues(features), places, {
            map: size,
            tracks,
            allFrames: FRAMES,
            ...window,
          }),
      };
    },
  });
}

/** The finest and a coarse level of VGGT-1B's tracker for 8 frames of 518x392. */
export const benches: readonly KernelBench[] = [bench(196, 259), bench(24, 32)];

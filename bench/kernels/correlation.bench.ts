import { correlation } from '../../src/kernels/correlation.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const [TRACKS, FRAMES, CHANNELS, RADIUS] = [256, 8, 128, 4];
const SIDE = 2 * RADIUS + 1;

function bench(height: number, width: number): KernelBench {
  return {
    name: 'correlation',
    variant: `radius ${RADIUS}`,
    shape: `N=${TRACKS} S=${FRAMES} ${height}x${width} C=${CHANNELS}`,
    setup(device) {
      const map = randomTensor(device, [FRAMES, height, width, CHANNELS]);
      const features = randomTensor(device, [TRACKS, FRAMES, CHANNELS]);
      const places = Float32Array.from(
        { length: 2 * TRACKS * FRAMES },
        (_, i) => Math.random() * (i % 2 === 0 ? width : height),
      );
      const coords = device.upload(places, [TRACKS, FRAMES, 2], 'f32');
      const out = device.tensor([TRACKS, FRAMES, SIDE ** 2]);
      const taps = TRACKS * FRAMES * (SIDE + 1) ** 2;
      return {
        flops: 2 * taps * CHANNELS,
        bytes: Math.min(map.byteLength, 4 * taps * CHANNELS) + features.byteLength + out.byteLength,
        run: () => correlation(map, features, coords, out, { firstFrame: 0, scale: 1, radius: RADIUS, column: 0 }),
        dispose: () => {
          for (const tensor of [map, features, coords, out]) device.dispose(tensor);
        },
      };
    },
  };
}

/** The finest and a coarse level of VGGT-1B's tracker for 8 frames of 518x392. */
export const benches: readonly KernelBench[] = [bench(196, 259), bench(24, 32)];

import { trackUpdate } from '../../src/kernels/track_update.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const [TRACKS, FRAMES, WIDTH] = [256, 32, 130];

/** One refinement of VGGT-1B's tracker: 256 tracks through 32 frames. */
export const benches: readonly KernelBench[] = [
  {
    name: 'track_update',
    variant: 'f32',
    shape: `N=${TRACKS} S=${FRAMES}`,
    setup(device) {
      const coords = randomTensor(device, [TRACKS, FRAMES, 2]);
      const delta = randomTensor(device, [TRACKS, FRAMES, WIDTH]);
      return {
        flops: coords.size,
        bytes: 3 * coords.byteLength,
        run: () => trackUpdate(coords, delta),
        dispose: () => {
          for (const tensor of [coords, delta]) device.dispose(tensor);
        },
      };
    },
  },
];

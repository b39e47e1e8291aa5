import { trackTokens } from '../../src/kernels/track_tokens.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const [TRACKS, FRAMES, CHANNELS] = [256, 32, 128];
const WIDTH = 3 * CHANNELS + 4;

/** One refinement of VGGT-1B's tracker: 256 tracks through 32 frames. */
export const benches: readonly KernelBench[] = [
  {
    name: 'track_tokens',
    variant: 'f32',
    shape: `N=${TRACKS} S=${FRAMES} C=${CHANNELS}`,
    setup(device) {
      const tensors = {
        coords: randomTensor(device, [TRACKS, FRAMES, 2], 'f32', 100),
        corr: randomTensor(device, [TRACKS, FRAMES, CHANNELS]),
        features: randomTensor(device, [TRACKS, FRAMES, CHANNELS]),
        positions: randomTensor(device, [TRACKS, WIDTH]),
        reference: randomTensor(device, [2, WIDTH]),
      };
      const values = TRACKS * FRAMES * WIDTH;
      return {
        flops: 10 * values,
        bytes: 4 * (values + TRACKS * FRAMES * (2 + 2 * CHANNELS) + TRACKS * WIDTH),
        run: () => void trackTokens({ ...tensors, maxScale: 518 }),
        dispose: () => {
          for (const tensor of Object.values(tensors)) device.dispose(tensor);
        },
      };
    },
  },
];

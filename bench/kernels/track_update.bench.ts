import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { trackUpdate } from '../../src/kernels/track_update.ts';
import { trackUpdateReference } from '../../test/reference/track_update.ts';

const WIDTH = 130;

interface Sizes {
  readonly tracks: number;
  readonly frames: number;
}

/** One refinement of VGGT-1B's tracker: 256 tracks through 32 frames. */
export const benches: readonly KernelBench[] = [
  kernelBench<Sizes>({
    name: 'track_update',
    variant: 'f32',
    sizes: { tracks: 256, frames: 32 },
    reduced: { tracks: 5, frames: 7 },
    describe: ({ tracks, frames }) => `N=${tracks} S=${frames}`,
    setup: (device, { tracks, frames }) => {
      const coords = randomTensor(device, [tracks, frames, 2]);
      const delta = randomTensor(device, [tracks, frames, WIDTH]);
      return {
        operands: [coords, delta],
        run: () => {
          trackUpdate(coords, delta);
          return coords;
        },
        expected: async () => trackUpdateReference(await floatValues(coords), await floatValues(delta), frames, WIDTH),
      };
    },
  }),
];

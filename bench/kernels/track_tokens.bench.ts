import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { trackTokens } from '../../src/kernels/track_tokens.ts';
import { trackTokensReference } from '../../test/reference/track_tokens.ts';

type Sizes = readonly [tracks: number, frames: number, channels: number];

/** One refinement of VGGT-1B's tracker: 256 tracks through 32 frames. */
export const benches: readonly KernelBench[] = [
  kernelBench<Sizes>({
    name: 'track_tokens',
    variant: 'f32',
    sizes: [256, 32, 128],
    reduced: [3, 4, 128],
    describe: ([tracks, frames, channels]) => `N=${tracks} S=${frames} C=${channels}`,
    setup: (device, [tracks, frames, channels]) => {
      const width = 3 * channels + 4;
      const tensors = {
        coords: randomTensor(device, [tracks, frames, 2], 'f32', 100),
        corr: randomTensor(device, [tracks, frames, channels]),
        features: randomTensor(device, [tracks, frames, channels]),
        positions: randomTensor(device, [tracks, width]),
        reference: randomTensor(device, [2, width]),
      };
      return {
        operands: Object.values(tensors),
        run: () => trackTokens({ ...tensors, maxScale: 518 }),
        expected: async () => {
          const values = {
            coords: await floatValues(tensors.coords),
            corr: await floatValues(tensors.corr),
            features: await floatValues(tensors.features),
            positions: await floatValues(tensors.positions),
            reference: await floatValues(tensors.reference),
          };
          return trackTokensReference(values, [tracks, frames, channels], 518);
        },
      };
    },
  }),
];

import type { Aggregator, FrameImages } from '../models/vggt/aggregator.ts';
import type { Device } from '../tensor/device.ts';
import { counted, type ModelWork, noise } from './model_work.ts';

/** The frames that VGGT's own figures are quoted for, as far as the patch size allows. */
const FRAME = { height: 392, width: 518 };

/** Random frames. */
export function noiseFrames(frames: number, patch: number): FrameImages {
  const [height, width] = [FRAME.height, FRAME.width].map((side) => Math.floor(side / patch) * patch) as [
    number,
    number,
  ];
  const data = noise(frames * 3 * height * width);
  return { data, frames, height, width };
}

/** `8 frames of 392x518`. */
export function framesShape({ frames, height, width }: Pick<FrameImages, 'frames' | 'height' | 'width'>): string {
  return `${counted(frames, 'frame')} of ${height}x${width}`;
}

/** VGGT's aggregator on some frames; `layers` are those whose outputs somebody reads. */
export function aggregatorWork(
  device: Device,
  aggregator: Aggregator,
  layers: readonly number[],
  frames: number,
  patch: number,
): ModelWork {
  const { height, width } = noiseFrames(0, patch);
  return {
    name: 'aggregator',
    shape: framesShape({ frames, height, width }),
    units: { count: frames, unit: 'frames' },
    prepare: async () => {
      const images = noiseFrames(frames, patch);
      return {
        run: async () => {
          for (const output of aggregator.forward(images, layers)) device.dispose(output);
        },
        release: () => undefined,
      };
    },
  };
}

import type { DtypeName } from '../models/precision.ts';
import type { HeadName, PredictPhase } from '../models/vggt/predictions.ts';
import { type FrameImages, VGGT } from '../models/vggt/vggt.ts';
import type { LoadProgress } from '../models/weights.ts';
import type { Device } from '../tensor/device.ts';
import { aggregatorWork, framesShape, noiseFrames } from './frames_work.ts';
import type { BenchedModel, ModelSizes, ModelWork } from './model_work.ts';

/** What a SpatialStack reads of VGGT. */
const LAYERS = [11, 17, 23];
const RUNS = 3;

/** Points that are tracked: so many across as down. */
const POINTS_A_SIDE = 4;

/** A head on some frames, results read back: the time of its phase in a whole prediction. */
function headWork(vggt: VGGT, head: HeadName, frames: number): ModelWork {
  const { patch_size } = vggt.config;
  const { height, width } = noiseFrames(0, patch_size);
  const queryPoints = Float32Array.from({ length: 2 * POINTS_A_SIDE ** 2 }, (_, i) => {
    const place = i % 2 === 0 ? (i / 2) % POINTS_A_SIDE : Math.floor(i / 2 / POINTS_A_SIDE);
    return ((place + 0.5) / POINTS_A_SIDE) * (i % 2 === 0 ? width : height);
  });
  const predict = (images: FrameImages, onPhase?: (phase: PredictPhase) => void) =>
    vggt.predict(images, {
      heads: [head],
      ...(head === 'track' && { queryPoints }),
      ...(onPhase && { onPhase }),
    });
  return {
    name: `${head} head`,
    shape: framesShape({ frames, height, width }),
    units: { count: frames, unit: 'frames' },
    prepare: async () => {
      const images = noiseFrames(frames, patch_size);
      return { run: async () => void (await predict(images)), release: () => undefined };
    },
    time: async () => {
      const images = noiseFrames(frames, patch_size);
      const times: number[] = [];
      for (let i = 0; i <= RUNS; i++) {
        let start = 0;
        await predict(images, () => {
          start = performance.now(); // the last phase is the head's
        });
        times.push(performance.now() - start);
      }
      return Math.min(...times.slice(1));
    },
  };
}

/** Loads a VGGT. @throws InputError, DeviceError */
export async function loadVggt(
  device: Device,
  path: string,
  dtype: DtypeName,
  { frames }: ModelSizes,
  onProgress: LoadProgress,
): Promise<BenchedModel> {
  const vggt = await VGGT.load(device, path, { dtype, onProgress });
  const { depth, patch_size } = vggt.config;
  const inside = LAYERS.filter((layer) => layer < depth);
  const layers = inside.length > 0 ? inside : [-1];
  const works = frames.flatMap((count) => [
    aggregatorWork(device, vggt.aggregator, layers, count, patch_size),
    ...vggt.heads.map((head) => headWork(vggt, head, count)),
  ]);
  return { kind: 'vggt', works, close: async () => vggt.close() };
}

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

/** Points of the first frame to follow, on a grid. */
function gridPoints({ height, width }: Pick<FrameImages, 'height' | 'width'>): Float32Array {
  return Float32Array.from({ length: 2 * POINTS_A_SIDE ** 2 }, (_, i) => {
    const place = i % 2 === 0 ? (i / 2) % POINTS_A_SIDE : Math.floor(i / 2 / POINTS_A_SIDE);
    return ((place + 0.5) / POINTS_A_SIDE) * (i % 2 === 0 ? width : height);
  });
}

/** A prediction by some heads, results read back, and how it is timed. */
function predictWork(
  vggt: VGGT,
  name: string,
  heads: readonly HeadName[],
  frames: number,
  time: (predict: (onPhase?: (phase: PredictPhase) => void) => Promise<void>) => Promise<number>,
): ModelWork {
  const { patch_size } = vggt.config;
  const { height, width } = noiseFrames(0, patch_size);
  const queryPoints = heads.includes('track') ? { queryPoints: gridPoints({ height, width }) } : {};
  const prepare = async () => {
    const images = noiseFrames(frames, patch_size);
    return async (onPhase?: (phase: PredictPhase) => void) => {
      await vggt.predict(images, { heads, ...queryPoints, ...(onPhase && { onPhase }) });
    };
  };
  return {
    name,
    shape: framesShape({ frames, height, width }),
    units: { count: frames, unit: 'frames' },
    prepare: async () => ({ run: await prepare(), release: () => undefined }),
    time: async () => {
      const predict = await prepare();
      const times: number[] = [];
      for (let i = 0; i <= RUNS; i++) times.push(await time(predict));
      return Math.min(...times.slice(1));
    },
  };
}

/** A head on some frames: the time of its phase in a whole prediction, which is the last one. */
function headWork(vggt: VGGT, head: HeadName, frames: number): ModelWork {
  return predictWork(vggt, `${head} head`, [head], frames, async (predict) => {
    let start = 0;
    await predict(() => {
      start = performance.now();
    });
    return performance.now() - start;
  });
}

/** Everything that the checkpoint can say about some frames, in one prediction. */
function wholeWork(vggt: VGGT, frames: number): ModelWork {
  return predictWork(vggt, 'prediction', vggt.heads, frames, async (predict) => {
    const start = performance.now();
    await predict();
    return performance.now() - start;
  });
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
    ...(vggt.heads.length > 0 ? [wholeWork(vggt, count)] : []),
  ]);
  return { kind: 'vggt', works, close: async () => vggt.close() };
}

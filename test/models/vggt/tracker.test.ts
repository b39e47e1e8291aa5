import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import { layerNorm } from '../../../src/kernels/layer_norm.ts';
import { resizeBilinear } from '../../../src/kernels/resize_bilinear.ts';
import { readReferenceImages } from '../../../src/models/vggt/replay.ts';
import { type FrameImages, VGGT } from '../../../src/models/vggt/vggt.ts';
import { maxAbsDifference } from '../../compare.ts';
import { useDevice } from '../../device.ts';
import { Random } from '../../random.ts';
import { TrackerReference, type TrackState } from '../../reference/tracker.ts';
import { CheckpointFolder } from '../checkpoints.ts';

const FIXTURE = 'test/fixtures/vggt-tiny';
const TRACKER = 'track_head.tracker.';
const FIELDS = ['track', 'vis', 'conf'] as const;
const device = useDevice();
const scratch = new CheckpointFolder();

/** The fixture with trackers that stop after one and after two refinements. */
const models: VGGT[] = [];
let twin: TrackerReference;

beforeAll(async () => {
  for (const iters of [1, 2]) {
    const path = await scratch.variant(FIXTURE, (tensors, config) => ({
      tensors,
      config: { ...config, track_head: { ...(config.track_head as object), iters } },
    }));
    models.push(await VGGT.load(device(), path, { dtype: 'float32', heads: ['track'] }));
  }
  const checkpoint = await Checkpoint.open(FIXTURE);
  const weights = new Map<string, Float32Array>();
  for (const name of checkpoint.entries.keys()) {
    if (name.startsWith(TRACKER)) weights.set(name.slice(TRACKER.length), await checkpoint.readFloat32(name));
  }
  await checkpoint.close();
  twin = new TrackerReference(models[0]!.config.track_head, (name) => weights.get(name)!);
});
afterAll(() => {
  for (const model of models) model.close();
});

interface Case {
  readonly images: FrameImages;
  readonly points: Float32Array;
  /** PyTorch's tracks after all refinements. */
  readonly expected: TrackState;
}

async function readCase(name: string): Promise<Case> {
  const reference = await Checkpoint.open(`${FIXTURE}/reference/${name}.safetensors`);
  const images = await readReferenceImages(reference);
  const points = await reference.readFloat32('query_points');
  const [track, vis, conf] = await Promise.all(
    FIELDS.map(async (field) => Float64Array.from(await reference.readFloat32(field))),
  );
  await reference.close();
  return { images, points, expected: { track: track!, vis: vis!, conf: conf! } };
}

/** The normalised feature maps of our own float32 run, and their size. */
async function featureMaps({ frames, height, width, data }: FrameImages) {
  const { aggregator, trackHead, config } = models[0]!;
  const { patch_size: patchSize, dpt, track_head } = config;
  const size = [height / track_head.stride, width / track_head.stride] as const;
  const layers = aggregator.forward({ data, frames, height, width }, dpt.intermediate_layer_idx);
  const map = device().tidy(() => {
    const some = { first: 0, count: frames, specials: aggregator.patchStart };
    const grid = { rows: height / patchSize, columns: width / patchSize, patchSize };
    const fused = trackHead!.featureExtractor.forward(layers, some, grid);
    return layerNorm(resizeBilinear(fused, size), { ...trackHead!.fmapNorm, eps: 1e-5 });
  });
  const values = await device().readFloat32(map);
  for (const tensor of [map, ...layers]) device().dispose(tensor);
  return { values, shape: [frames, ...size] as const };
}

/** Root mean square of what a field's values differ by. */
function distance(a: TrackState, b: TrackState, field: (typeof FIELDS)[number]): number {
  const sum = a[field].reduce((total, value, i) => total + (value - b[field][i]!) ** 2, 0);
  return Math.sqrt(sum / a[field].length);
}

describe('the tracker beside its float64 twin', () => {
  // Each refinement multiplies rounding errors by some 60 to 130: what is 1e-6 pixel after the first is 1e-4 after the second.
  it.each(['one_frame', 'three_frames', 'square'])('after one and two refinements: %s', async (name) => {
    const { images, points } = await readCase(name);
    const maps = await featureMaps(images);
    const exact = twin.run(maps.values, maps.shape, points, 2);
    for (const [i, model] of models.entries()) {
      const found = await model.predict(images, { queryPoints: points });
      expect(maxAbsDifference(found.track!, exact[i]!.track)).toBeLessThan([1e-5, 1e-3][i]!);
      expect(maxAbsDifference(found.vis!, exact[i]!.vis)).toBeLessThan([1e-6, 1e-4][i]!);
      expect(maxAbsDifference(found.conf!, exact[i]!.conf)).toBeLessThan([1e-6, 1e-4][i]!);
    }
  });

  it('is what PyTorch computes where nothing moves, so that no error grows', async () => {
    const { images, points, expected } = await readCase('one_frame');
    const maps = await featureMaps(images);
    const exact = twin.run(maps.values, maps.shape, points, 4).at(-1)!;
    for (const field of FIELDS) expect(maxAbsDifference(exact[field], expected[field]), field).toBeLessThan(1e-6);
  });

  // The feature maps of two correct float32 programs differ by some 1e-6 of their values.
  it.each(['three_frames', 'square'])(
    'is as far from PyTorch after four as from itself with rounded maps: %s',
    async (name) => {
      const { images, points, expected } = await readCase(name);
      const maps = await featureMaps(images);
      const random = new Random(7);
      const rounded = () => maps.values.map((value) => value * (1 + 1e-6 * (2 * random.uniform() - 1)));
      const exact = twin.run(maps.values, maps.shape, points, 4).at(-1)!;
      const others = Array.from({ length: 4 }, () => twin.run(rounded(), maps.shape, points, 4).at(-1)!);
      for (const field of FIELDS) {
        const spread = Math.hypot(...others.map((other) => distance(other, exact, field))) / Math.sqrt(others.length);
        expect(distance(expected, exact, field) / spread, field).toBeLessThan(5);
      }
    },
  );
});

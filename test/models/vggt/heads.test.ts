import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../../../src/io/safetensors_write.ts';
import { TOLERANCES } from '../../../src/models/reference.ts';
import { readReferenceImages, replayVggt, type UnitFrames } from '../../../src/models/vggt/replay.ts';
import { type Predictions, VGGT } from '../../../src/models/vggt/vggt.ts';
import { maxAbsDifference, relativeL2 } from '../../compare.ts';
import { useDevice } from '../../device.ts';
import { Random } from '../../random.ts';
import { quantise } from '../../tensors.ts';

const FIXTURE = 'test/fixtures/vggt-tiny';
const CASES = ['one_frame', 'three_frames', 'square'];
const device = useDevice();
let model: VGGT;

beforeAll(async () => {
  model = await VGGT.load(device(), FIXTURE, { dtype: 'float32' });
});
afterAll(() => model?.close());

interface Case {
  readonly images: UnitFrames;
  readonly queryPoints: Float32Array;
  /** A tensor of the reference. */
  readonly expected: (name: string) => Float32Array;
}

async function readCase(name: string): Promise<Case> {
  const reference = await Checkpoint.open(`${FIXTURE}/reference/${name}.safetensors`);
  const images = await readReferenceImages(reference);
  const tensors = new Map<string, Float32Array>();
  for (const key of reference.entries.keys()) {
    if (key !== 'patch_start_idx') tensors.set(key, await reference.readFloat32(key));
  }
  await reference.close();
  return { images, queryPoints: tensors.get('query_points')!, expected: (key) => tensors.get(key)! };
}

/** Pictures in which every value is off by some rounding errors of float32: the aggregated tokens then move as far as they are from PyTorch's. */
function rounded(images: UnitFrames, random: Random): UnitFrames {
  return { ...images, data: images.data.map((value) => value * (1 + 1e-6 * (2 * random.uniform() - 1))) };
}

const FIELDS = [
  ['depth', 'depth'],
  ['depth_conf', 'depthConf'],
  ['world_points', 'worldPoints'],
  ['world_points_conf', 'worldPointsConf'],
] as const;

describe('heads in float32', () => {
  it.each(CASES)('agree with PyTorch: %s', async (name) => {
    const { images, expected } = await readCase(name);
    const phases: string[] = [];
    const found = await model.predict(images, { onPhase: (phase) => phases.push(phase) });
    expect(phases).toEqual(['aggregator', 'camera', 'depth', 'point']);
    expect(found.track).toBeUndefined();

    found.poseEncIterations!.forEach((values, i) => {
      expect(maxAbsDifference(values, expected(`pose_enc.${i}`))).toBeLessThan(1e-3);
    });
    expect(maxAbsDifference(found.poseEnc!, expected('pose_enc'))).toBeLessThan(1e-3);
    expect(maxAbsDifference(found.extrinsic!, expected('extrinsic'))).toBeLessThan(1e-3);
    expect(found.intrinsic!.length).toBe(expected('intrinsic').length);
    for (const [i, value] of expected('intrinsic').entries()) {
      if (Number.isFinite(value))
        expect(Math.abs(found.intrinsic![i]! - value)).toBeLessThan(1e-3 * Math.max(1, value));
      else expect(found.intrinsic![i]).toBe(value);
    }
    for (const [key, field] of FIELDS) expect(relativeL2(found[field]!, expected(key)), key).toBeLessThan(1e-3);
    for (const [key, field] of [FIELDS[1], FIELDS[3]])
      expect(maxAbsDifference(found[field]!, expected(key)), key).toBeLessThan(1e-3);
  });

  it('track the points of one frame as PyTorch', async () => {
    const { images, queryPoints, expected } = await readCase('one_frame');
    const { track, vis, conf } = await model.predict(images, { heads: ['track'], queryPoints });
    expect(maxAbsDifference(track!, expected('track'))).toBeLessThan(0.02);
    expect(maxAbsDifference(vis!, expected('vis'))).toBeLessThan(1e-3);
    expect(maxAbsDifference(conf!, expected('conf'))).toBeLessThan(1e-3);
  });

  // The tracker embeds movements at up to 1000 radians a pixel. With the fixture's random weights each of its four refinements multiplies an
  // error by about fifty, so that float32's rounding of the pictures alone moves a track by tenths of a pixel. PyTorch's tracks must be as near to ours as
  // ours are to each other.
  it.each(['three_frames', 'square'])('track points within what rounding leaves open: %s', async (name) => {
    const { images, queryPoints, expected } = await readCase(name);
    const random = new Random(31);
    const runs: Predictions[] = [];
    for (let i = 0; i < 6; i++)
      runs.push(await model.predict(rounded(images, random), { heads: ['track'], queryPoints }));
    for (const field of ['track', 'vis', 'conf'] as const) {
      const reference = expected(field);
      let [distance, spread] = [0, 0];
      for (const [i, value] of reference.entries()) {
        const values = runs.map((run) => run[field]![i]!);
        const mean = values.reduce((a, b) => a + b) / values.length;
        const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1);
        if (field === 'track' && i < queryPoints.length) {
          expect(value).toBe(queryPoints[i]);
          expect(values.every((x) => x === value)).toBe(true);
          continue;
        }
        distance += (value - mean) ** 2;
        spread += variance;
      }
      expect(Math.sqrt(distance / spread), field).toBeLessThan(3);
    }
  });

  it('see the first frame as the reference and the others in any order', async () => {
    const { images, expected } = await readCase('three_frames');
    const swap = (values: Float32Array): Float32Array => {
      const [a, b, c] = [0, 1, 2].map((i) => values.subarray((i * values.length) / 3, ((i + 1) * values.length) / 3));
      return Float32Array.from([...a!, ...c!, ...b!]);
    };
    const found = await model.predict({ ...images, data: swap(images.data) }, { heads: ['camera', 'depth'] });
    expect(maxAbsDifference(found.poseEnc!, swap(expected('pose_enc')))).toBeLessThan(1e-3);
    expect(relativeL2(found.depth!, swap(expected('depth')))).toBeLessThan(1e-3);
    expect(found.worldPoints).toBeUndefined();
  });

  it('give the same for many frames as for few, in chunks', async () => {
    const { images } = await readCase('one_frame');
    const frames = 11;
    const data = new Float32Array(frames * images.data.length);
    for (let i = 0; i < frames; i++) data.set(images.data, i * images.data.length);
    const { depth } = await model.predict({ ...images, data, frames }, { heads: ['depth'] });
    const pixels = depth!.length / frames;
    // All frames but the first are the same to the model; the ninth begins a chunk.
    for (let i = 2; i < frames; i++) {
      expect(
        relativeL2(depth!.subarray(i * pixels, (i + 1) * pixels), depth!.subarray(pixels, 2 * pixels)),
      ).toBeLessThan(1e-5);
    }
  });

  it('hold no more memory after one prediction than after many', async () => {
    const { images, queryPoints } = await readCase('square');
    await model.predict(images, { queryPoints });
    const before = device().memory.allocated;
    for (let i = 0; i < 2; i++) await model.predict(images, { queryPoints });
    expect(device().memory.allocated).toBe(before);
  });

  it('refuse points and frames that cannot be tracked', async () => {
    const { images } = await readCase('one_frame');
    const predict = (values: number[], others = {}) =>
      model.predict({ ...images, ...others }, { queryPoints: Float32Array.from(values) });
    await expect(predict([])).rejects.toThrow('expected x and y of at least one point to track, found 0 values.');
    await expect(predict([1, 2, 3])).rejects.toThrow(InputError);
    await expect(predict([85, 3])).rejects.toThrow('inside of 84 x 56 pixels, found (85, 3)');
    await expect(predict([Number.NaN, 3])).rejects.toThrow(InputError);
    await expect(model.predict(images, { heads: ['track'] })).rejects.toThrow(
      'expected points of the first frame to track, found none.',
    );
    await expect(model.predict(images, { heads: [] })).rejects.toThrow(InputError);
    const many = new Float32Array(2_000_000);
    await expect(model.predict(images, { heads: ['track'], queryPoints: many })).rejects.toThrow(
      /expected at most \d+ points/,
    );
  });
});

describe('replayVggt', () => {
  it('computes every tensor of a reference', async () => {
    const reference = await Checkpoint.open(`${FIXTURE}/reference/one_frame.safetensors`);
    const { rows, recorder } = await replayVggt(model, reference, TOLERANCES.float32);
    await reference.close();
    expect(rows.filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
    expect(rows.map(({ name }) => name)).toContain('aggregated.3');
    expect(recorder.computed.get('depth')!.shape).toEqual([1, 56, 84, 1]);
  });
});

describe('a checkpoint without a config.json', () => {
  it('is expected to have the sizes of VGGT-1B', async () => {
    const load = VGGT.load(device(), `${FIXTURE}/reference/one_frame.safetensors`, { dtype: 'float32' });
    await expect(load).rejects.toThrow(InputError);
    await expect(load).rejects.toThrow(
      /"aggregator\..*", found none .*; without a config\.json beside it the sizes of VGGT-1B are expected\.$/,
    );
  });
});

describe('a checkpoint of 16-bit weights with some heads', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'vggt-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** The fixture's aggregator and depth head, rounded to bf16, stored as such or widened again. */
  async function write(name: string, dtype: 'BF16' | 'F32'): Promise<string> {
    const source = await Checkpoint.open(FIXTURE);
    const tensors = new Map<string, TensorToWrite>();
    for (const { name: tensor, shape } of source.entries.values()) {
      if (!/^(aggregator|depth_head)[.]/.test(tensor)) continue;
      const values = quantise(await source.readFloat32(tensor), 'bf16');
      const words = Uint16Array.from(new Uint32Array(values.buffer), (word) => word >>> 16);
      tensors.set(tensor, { dtype, shape, data: new Uint8Array((dtype === 'BF16' ? words : values).buffer) });
    }
    await source.close();
    const target = join(folder, name);
    await mkdir(target);
    await copyFile(join(FIXTURE, 'config.json'), join(target, 'config.json'));
    await writeSafetensors(join(target, 'model.safetensors'), tensors, {});
    return target;
  }

  it('predicts what its widened weights predict, and offers no other heads', async () => {
    const { images } = await readCase('one_frame');
    const depths: Float32Array[] = [];
    for (const dtype of ['BF16', 'F32'] as const) {
      const partial = await VGGT.load(device(), await write(dtype, dtype), { dtype: 'float32' });
      expect(partial.heads).toEqual(['depth']);
      const { depth, poseEnc } = await partial.predict(images);
      expect(poseEnc).toBeUndefined();
      depths.push(depth!);
      await expect(partial.predict(images, { heads: ['camera'] })).rejects.toThrow(
        'expected a camera head, found depth.',
      );
      partial.close();
    }
    expect(relativeL2(depths[0]!, depths[1]!)).toBeLessThan(1e-6);
  });
});

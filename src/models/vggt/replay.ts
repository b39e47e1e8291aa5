import { InputError } from '../../io/errors.ts';
import type { Checkpoint } from '../../io/safetensors.ts';
import { type ComparisonRow, compare, Recorder, type Tolerances } from '../reference.ts';
import type { FrameImages } from './dinov2.ts';
import type { Predictions, VGGT } from './vggt.ts';

/** Tensors of a reference file that go in rather than come out. */
const INPUTS = new Set(['images', 'query_points', 'patch_start_idx']);

/** How much wider than those of hidden states the tolerances of the heads' results are: these pass through exponentials and refinements. */
const HEAD_FACTOR = 10;
/** Largest difference of a track in pixels, for each unit of relative L2 error. */
const PIXELS = 200;
const TRACK_FIELDS = ['track', 'vis', 'conf'] as const;
/** Predictions from slightly changed pictures, and how many times further than these the reference may lie. */
const SENSITIVITY_RUNS = 16;
const SENSITIVITY_FACTOR = 3;
const HIDDEN = /^(patch_embed|aggregated\.\d+)$/;

/** Frames whose values can be any: not those of bytes. */
export interface UnitFrames extends FrameImages {
  readonly data: Float32Array;
}

interface Replay {
  readonly vggt: VGGT;
  readonly recorder: Recorder;
  readonly images: UnitFrames;
  readonly queryPoints: Float32Array | undefined;
}

/** The frames that a reference file was made from. @throws InputError when the file holds none */
export async function readReferenceImages(reference: Checkpoint): Promise<UnitFrames> {
  if (!reference.has('images')) {
    throw new InputError(`${reference.path} holds no images, so it is no reference of a VGGT`);
  }
  const { shape } = reference.entry('images');
  if (shape.length !== 4 || shape[1] !== 3) {
    throw new InputError(`${reference.path}: expected images of shape [frames, 3, height, width], found [${shape}].`);
  }
  const [frames, , height, width] = shape as [number, number, number, number];
  return { data: await reference.readFloat32('images'), frames, height, width };
}

/** Replays a reference file of a VGGT. @returns one row per tensor of the file, and everything computed. @throws InputError */
export async function replayVggt(
  vggt: VGGT,
  reference: Checkpoint,
  tolerances: Tolerances,
): Promise<{ rows: ComparisonRow[]; recorder: Recorder }> {
  const recorder = new Recorder(vggt.device, reference);
  const images = await readReferenceImages(reference);
  const { observe } = recorder;
  const wantsTracks = vggt.trackHead !== undefined && reference.has('query_points');
  const queryPoints = wantsTracks ? await reference.readFloat32('query_points') : undefined;
  if (vggt.heads.length === 0) {
    for (const output of vggt.aggregator.forward(images, [-1], observe)) vggt.device.dispose(output);
  } else {
    add(recorder, await vggt.predict(images, { observe, ...(queryPoints && { queryPoints }) }));
  }
  await recorder.collect();

  const { relativeL2 } = tolerances;
  const judged = await trackRows({ vggt, recorder, images, queryPoints }, relativeL2);
  const tracks = new Map(judged.map((row) => [row.name, row]));
  const rows: ComparisonRow[] = [];
  for (const name of reference.entries.keys()) {
    if (INPUTS.has(name)) continue;
    if (HIDDEN.test(name)) rows.push(await recorder.row(name, relativeL2));
    else if (tracks.has(name)) rows.push(tracks.get(name)!);
    else rows.push(await recorder.row(name, HEAD_FACTOR * relativeL2));
  }
  return { rows, recorder };
}

/**
 * Judges the rows of the track head. It embeds movements at up to 1000 radians a pixel and feeds its result back, so that with some weights rounding
 * errors grow to a fair part of a pixel. A row beyond its tolerance, yet no further from the reference than a few times what such errors in the
 * pictures move it, says nothing and is not counted.
 */
async function trackRows(replay: Replay, relativeL2: number): Promise<ComparisonRow[]> {
  const { vggt, recorder, images, queryPoints } = replay;
  const rows: ComparisonRow[] = [];
  for (const name of TRACK_FIELDS) {
    if (!recorder.reference.has(name)) continue;
    const pixels = name === 'track' ? PIXELS * relativeL2 : Number.POSITIVE_INFINITY;
    rows.push(await recorder.row(name, HEAD_FACTOR * relativeL2, pixels));
  }
  if (queryPoints === undefined || rows.every(({ verdict }) => verdict !== 'FAIL')) return rows;

  const change = relativeL2 / 100;
  const moved = { track: 0, vis: 0, conf: 0 };
  for (let run = 1; run <= SENSITIVITY_RUNS; run++) {
    const changed = { ...images, data: images.data.map((value, i) => value * (1 + change * scattered(i, run))) };
    const predicted = await vggt.predict(changed, { heads: ['track'], queryPoints });
    for (const name of TRACK_FIELDS) {
      const found = compare(predicted[name]!, recorder.computed.get(name)!.values);
      moved[name] = Math.max(moved[name], found.relativeL2);
    }
  }
  return rows.map((row) => {
    const open = moved[row.name as keyof typeof moved];
    if (row.verdict !== 'FAIL' || !(row.relativeL2 <= SENSITIVITY_FACTOR * open)) return row;
    const note = `cannot be judged: pictures changed by ${change} of their values move it by ${open.toExponential(2)}`;
    return { ...row, verdict: 'skipped', note };
  });
}

/** Numbers in [-1, 1) without a pattern (Knuth's multiplicative hash). */
function scattered(i: number, run: number): number {
  return (Math.imul(i + 1, 2654435761 + 2 * run) >>> 0) / 2 ** 31 - 1;
}

/** Notes predictions under the names of the reference files. */
function add(recorder: Recorder, predictions: Predictions): void {
  const { frames, height, width } = predictions;
  const tracks = (predictions.vis?.length ?? 0) / frames;
  const named: [name: string, shape: number[], values: Float32Array | undefined][] = [
    ['pose_enc', [frames, 9], predictions.poseEnc],
    ['extrinsic', [frames, 3, 4], predictions.extrinsic],
    ['intrinsic', [frames, 3, 3], predictions.intrinsic],
    ['depth', [frames, height, width, 1], predictions.depth],
    ['depth_conf', [frames, height, width], predictions.depthConf],
    ['world_points', [frames, height, width, 3], predictions.worldPoints],
    ['world_points_conf', [frames, height, width], predictions.worldPointsConf],
    ['track', [frames, tracks, 2], predictions.track],
    ['vis', [frames, tracks], predictions.vis],
    ['conf', [frames, tracks], predictions.conf],
  ];
  for (const [i, values] of (predictions.poseEncIterations ?? []).entries())
    named.push([`pose_enc.${i}`, [frames, 9], values]);
  for (const [name, shape, values] of named) if (values !== undefined) recorder.add(name, shape, values);
}

import { InputError } from '../../io/errors.ts';
import type { Checkpoint } from '../../io/safetensors.ts';
import { type ComparisonRow, Recorder, type Tolerances } from '../reference.ts';
import type { FrameImages } from './dinov2.ts';
import type { Predictions, VGGT } from './vggt.ts';

/** Tensors of a reference file that go in rather than come out. */
const INPUTS = new Set(['images', 'query_points', 'patch_start_idx']);

/** How much wider than those of hidden states the tolerances of the heads' results are: these pass through exponentials and refinements. */
const HEAD_FACTOR = 10;
/** Largest difference of a track in pixels, for each unit of relative L2 error. */
const PIXELS = 200;
const HIDDEN = /^(patch_embed|aggregated\.\d+)$/;

/** The frames that a reference file was made from. @throws InputError when the file holds none */
export async function readReferenceImages(reference: Checkpoint): Promise<FrameImages> {
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
  if (vggt.heads.length === 0) {
    for (const output of vggt.aggregator.forward(images, [-1], observe)) vggt.device.dispose(output);
  } else {
    const queryPoints = reference.has('query_points') ? await reference.readFloat32('query_points') : undefined;
    add(recorder, await vggt.predict(images, { observe, ...(queryPoints && { queryPoints }) }));
  }
  await recorder.collect();

  const { relativeL2 } = tolerances;
  const rows: ComparisonRow[] = [];
  for (const name of reference.entries.keys()) {
    if (INPUTS.has(name)) continue;
    if (HIDDEN.test(name)) rows.push(await recorder.row(name, relativeL2));
    else if (name === 'track') rows.push(await recorder.row(name, HEAD_FACTOR * relativeL2, PIXELS * relativeL2));
    else rows.push(await recorder.row(name, HEAD_FACTOR * relativeL2));
  }
  return { rows, recorder };
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
  for (const [i, values] of (predictions.poseEncIterations ?? []).entries()) named.push([`pose_enc.${i}`, [frames, 9], values]);
  for (const [name, shape, values] of named) if (values !== undefined) recorder.add(name, shape, values);
}

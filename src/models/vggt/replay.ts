import { InputError } from '../../io/errors.ts';
import type { Checkpoint } from '../../io/safetensors.ts';
import { type ComparisonRow, Recorder, type Tolerances } from '../reference.ts';
import type { FrameImages } from './dinov2.ts';
import type { VGGT } from './vggt.ts';

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

/** Tensors of a reference file that go in rather than come out. */
const INPUTS = new Set(['images', 'query_points', 'patch_start_idx']);

/** Replays a reference file of a VGGT. @returns one row per tensor of the file, and everything computed. @throws InputError */
export async function replayVggt(
  vggt: VGGT,
  reference: Checkpoint,
  tolerances: Tolerances,
): Promise<{ rows: ComparisonRow[]; recorder: Recorder }> {
  const recorder = new Recorder(vggt.device, reference);
  const images = await readReferenceImages(reference);
  const outputs = vggt.aggregator.forward(images, [-1], recorder.observe);
  for (const output of outputs) vggt.device.dispose(output);
  await recorder.collect();

  const rows: ComparisonRow[] = [];
  for (const name of reference.entries.keys()) {
    if (!INPUTS.has(name)) rows.push(await recorder.row(name, tolerances.relativeL2));
  }
  return { rows, recorder };
}

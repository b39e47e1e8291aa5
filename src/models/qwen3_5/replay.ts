import { InputError } from '../../io/errors.ts';
import type { Checkpoint } from '../../io/safetensors.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type ComparisonRow, compare, Recorder, type Tolerances } from '../reference.ts';
import { Cache } from './cache.ts';
import { normalisedBytes, type Pixels } from './image_processor.ts';
import type { ModelInput } from './input.ts';
import { type LanguageModel, rotaryAngles } from './model.ts';
import { mropePositions, rotaryTable } from './positions.ts';
import { interleaved, joinPatches } from './reference_pixels.ts';

/** Rows of logits computed at a time, so that a large vocabulary fits. */
const LOGIT_ROWS = 64;

type GridThw = [number, number, number][];

async function readGrids(reference: Checkpoint, name: string): Promise<GridThw> {
  if (!reference.has(name)) return [];
  const values = await reference.readInt32(name);
  return Array.from(
    { length: values.length / 3 },
    (_, i) => [...values.subarray(3 * i, 3 * i + 3)] as [number, number, number],
  );
}

/** Pictures or videos of patches stored as bytes: pixel = (u8 / 255 - 0.5) / 0.5. */
async function readPixels(
  reference: Checkpoint,
  name: string,
  gridThw: GridThw,
  { config }: LanguageModel,
): Promise<Pixels | undefined> {
  if (!reference.has(name)) return undefined;
  if (config.vision === undefined)
    throw new InputError(
      `${reference.path} shows pictures; this checkpoint is a text-only export and cannot take them.`,
    );
  const { patch_size, temporal_patch_size: time, spatial_merge_size } = config.vision;
  const patches = await reference.readBytes(name);
  const found = gridThw.reduce((sum, [t, h, w]) => sum + t * h * w, 0) * 3 * time * patch_size ** 2;
  if (patches.length !== found) {
    throw new InputError(`${reference.path}: expected ${found} bytes in ${name}, found ${patches.length}.`);
  }
  const half = [0.5, 0.5, 0.5];
  return {
    data: joinPatches(patches, gridThw, { patch: patch_size, time, merge: spatial_merge_size }),
    groupFrames: time,
    values: normalisedBytes({ mean: half, std: half }),
    gridThw,
  };
}

/** The prompt that a reference file was made from. @throws InputError when the file holds none */
export async function readReferenceInput(reference: Checkpoint, model: LanguageModel): Promise<ModelInput> {
  if (!reference.has('input_ids'))
    throw new InputError(`${reference.path} holds no input_ids, so it is no reference of a language model`);
  const { config } = model;
  const inputIds = await reference.readInt32('input_ids');
  const grids = {
    image: await readGrids(reference, 'image_grid_thw'),
    video: await readGrids(reference, 'video_grid_thw'),
  };
  const tokens = { imageTokenId: config.image_token_id, videoTokenId: config.video_token_id };
  const merge = config.vision?.spatial_merge_size ?? 1;
  const images = await readPixels(reference, 'pixel_values_u8', grids.image, model);
  const videos = await readPixels(reference, 'pixel_values_videos_u8', grids.video, model);
  let geometry: ModelInput['geometry'];
  if (reference.has('geometry_images_u8')) {
    const [frames, , height, width] = reference.entry('geometry_images_u8').shape as [number, number, number, number];
    geometry = {
      data: interleaved(await reference.readBytes('geometry_images_u8'), height * width),
      frames,
      height,
      width,
    };
  }
  return { inputIds, ...mropePositions(inputIds, grids, tokens, merge), images, videos, geometry };
}

/**
 * Replays a reference file of a language model: the prompt, then decoding with the reference's own tokens fed back, so that one near tie does
 * not hide what follows. @returns one row per tensor of the file, and everything computed
 */
export async function replayLanguageModel(
  model: LanguageModel,
  reference: Checkpoint,
  tolerances: Tolerances,
): Promise<{ rows: ComparisonRow[]; recorder: Recorder }> {
  const { device, config } = model;
  const recorder = new Recorder(device, reference);
  const input = await readReferenceInput(reference, model);
  recorder.add('mrope_position_ids', [3, input.inputIds.length], input.positions);
  recorder.add('rope_delta', [1], Int32Array.of(input.ropeDelta));

  const generated = reference.has('generated_ids') ? await reference.readInt32('generated_ids') : new Int32Array(0);
  const cache = new Cache(device, config.text, model.precision, input.inputIds.length + generated.length);
  const normed = await model.prefill(input, cache, { observe: recorder.observe });
  const logits = await promptLogits(
    model,
    normed,
    reference.has('argmax') ? await reference.readInt32('argmax') : undefined,
  );
  device.dispose(normed);
  await recorder.collect();

  const vocab = config.text.vocab_size;
  const tail = reference.has('logits_tail') ? reference.entry('logits_tail').shape[0]! : 0;
  recorder.add('logits_last', [vocab], logits.last.slice(-vocab));
  recorder.add('logits_tail', [tail, vocab], logits.last.slice(logits.last.length - tail * vocab));
  recorder.add('argmax', [input.inputIds.length], logits.argmax);

  const steps = await decodeReference(model, input, cache, generated, logits.last.slice(-vocab));
  recorder.add('generated_ids', [generated.length], steps.argmax);
  recorder.add('generated_margin', [generated.length], steps.margin);
  recorder.add('generated_logits', [generated.length, vocab], steps.logits);
  cache.destroy();

  const rows: ComparisonRow[] = [];
  for (const name of reference.entries.keys()) {
    if (INPUTS.has(name)) continue;
    if (name === 'argmax')
      rows.push(await tokenRow(recorder, name, logits.lead, await largestLead(recorder, tolerances)));
    else if (name === 'generated_ids')
      rows.push(await tokenRow(recorder, name, await referenceMargin(reference, steps.margin), tolerances.margin));
    else if (name === 'generated_margin')
      rows.push(await recorder.row(name, Number.POSITIVE_INFINITY, 2 * tolerances.logitAbsolute));
    else if (name === 'mrope_position_ids' || name === 'rope_delta') rows.push(await recorder.row(name, 0, 0));
    else
      rows.push(
        await recorder.row(name, tolerances.relativeL2, name.includes('logits') ? tolerances.logitAbsolute : undefined),
      );
  }
  return { rows, recorder };
}

/** Tensors of a reference file that go in rather than come out. */
const INPUTS = new Set([
  'input_ids',
  'pixel_values_u8',
  'pixel_values_videos_u8',
  'image_grid_thw',
  'video_grid_thw',
  'mm_token_type_ids',
  'geometry_images_u8',
  'preprocessed_rgb',
  'frames_rgb',
]);

async function referenceMargin(reference: Checkpoint, own: Float32Array): Promise<Float32Array> {
  return reference.has('generated_margin') ? reference.readFloat32('generated_margin') : own;
}

/**
 * How far our best logit of a prompt position may lead that of the reference's choice, whose own lead the file does not tell: as far as in a
 * near tie, or as the error of two logits allows where the largest error seen is greater.
 */
async function largestLead(recorder: Recorder, { relativeL2, margin }: Tolerances): Promise<number> {
  if (!recorder.reference.has('logits_tail')) return margin;
  const { maxAbs } = await recorder.row('logits_tail', relativeL2);
  return Math.max(margin, 2 * maxAbs);
}

/** Compares token ids wherever the margin is clear. */
async function tokenRow(
  recorder: Recorder,
  name: string,
  margins: Float32Array,
  clear: number,
): Promise<ComparisonRow> {
  const expected = await recorder.reference.readInt32(name);
  const actual = recorder.computed.get(name)!.values;
  const different = [...expected.keys()].filter((i) => actual[i] !== expected[i]);
  const wrong = different.filter((i) => !(margins[i]! <= clear)); // NaN is no tie
  const note =
    wrong.length > 0
      ? `differs at ${wrong.slice(0, 5).join(', ')}`
      : different.length > 0
        ? `${different.length} near ties went the other way`
        : '';
  return {
    name,
    shape: [expected.length],
    ...compare(actual, expected),
    verdict: wrong.length === 0 ? 'ok' : 'FAIL',
    note,
  };
}

interface PromptLogits {
  readonly argmax: Int32Array;
  /** How far the best logit leads that of the token expected. */
  readonly lead: Float32Array;
  /** The last rows, at least eight where the prompt has them. */
  readonly last: Float32Array;
}

/** Logits at every prompt position, a few rows at a time. */
async function promptLogits(
  { device, text, config }: LanguageModel,
  normed: Tensor,
  expected: Int32Array | undefined,
): Promise<PromptLogits> {
  const [tokens, width] = normed.shape as [number, number];
  const vocab = config.text.vocab_size;
  const argmax = new Int32Array(tokens);
  const lead = new Float32Array(tokens);
  const last = new Float32Array(Math.min(8, tokens) * vocab);
  for (let start = 0; start < tokens; start += LOGIT_ROWS) {
    const count = Math.min(LOGIT_ROWS, tokens - start);
    const logits = device.tidy(() => {
      const rows = device.tensor([count, width]);
      device.copy(normed, start * width, rows, 0, count * width);
      return text.logits(rows);
    });
    const values = await device.readFloat32(logits);
    device.dispose(logits);
    for (let i = 0; i < count; i++) {
      const row = values.subarray(i * vocab, (i + 1) * vocab);
      const [best] = topTwo(row);
      argmax[start + i] = best;
      if (expected !== undefined) lead[start + i] = row[best]! - row[expected[start + i]!]!;
      const fromLast = start + i - (tokens - last.length / vocab);
      if (fromLast >= 0) last.set(row, fromLast * vocab);
    }
  }
  return { argmax, lead, last };
}

/** Index of the largest value (the first among equals) and its lead over the next. */
function topTwo(values: Float32Array): [number, number] {
  let best = 0;
  let second = Number.NEGATIVE_INFINITY;
  for (let i = 1; i < values.length; i++) {
    const value = values[i]!;
    if (value > values[best]!) {
      second = values[best]!;
      best = i;
    } else if (value > second) second = value;
  }
  return [best, values[best]! - second];
}

/** Logits of each decoding step when the reference's tokens are fed back. */
async function decodeReference(
  { device, text, config }: LanguageModel,
  input: ModelInput,
  cache: Cache,
  generated: Int32Array,
  first: Float32Array,
): Promise<{ argmax: Int32Array; margin: Float32Array; logits: Float32Array }> {
  const vocab = config.text.vocab_size;
  const result = {
    argmax: new Int32Array(generated.length),
    margin: new Float32Array(generated.length),
    logits: new Float32Array(generated.length * vocab),
  };
  let row = first;
  for (let step = 0; step < generated.length; step++) {
    if (step > 0) {
      const position = new Int32Array(3).fill(input.inputIds.length + step - 1 + input.ropeDelta);
      const logits = device.tidy(() => {
        const table = device.upload(rotaryTable(position, config.text), [1, rotaryAngles(config), 2], 'f32');
        const h = text.embed(device.upload(generated.subarray(step - 1, step), [1], 'i32'));
        return text.logits(text.forward(h, table, cache));
      });
      row = await device.readFloat32(logits);
      device.dispose(logits);
    }
    [result.argmax[step], result.margin[step]] = topTwo(row);
    result.logits.set(row, step * vocab);
  }
  return result;
}

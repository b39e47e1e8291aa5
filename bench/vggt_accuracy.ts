/**
 * How far VGGT's default mode is from its own float32, and what both take: `npx tsx bench/vggt_accuracy.ts CHECKPOINT [--frames 4] [--image a.jpg b.jpg …]
 * [--size 518x392] [--modes float32,bfloat16] [--json OUT]`. Each mode predicts everything that the checkpoint has heads for, from smooth made-up frames
 * or from pictures; printed are the relative L2 errors of the default mode, seconds by phase and the peak GPU memory. Beyond 32 frames float32 is left out unless
 * asked for.
 */
import { parseArgs } from 'node:util';
import { origin } from '../src/bench/origin.ts';
import { bytes, duration, table } from '../src/cli/format.ts';
import { oneOf, wholeNumber } from '../src/cli/values.ts';
import { decodeImage } from '../src/io/image.ts';
import { jsonText } from '../src/io/json_text.ts';
import { writeTextFile } from '../src/io/output_file.ts';
import { DTYPES, type DtypeName } from '../src/models/precision.ts';
import { compare } from '../src/models/reference.ts';
import { frameOf, padToLargest, stackFrames } from '../src/models/vggt/image_processor.ts';
import { type FrameImages, type Predictions, VGGT } from '../src/models/vggt/vggt.ts';
import { Device } from '../src/tensor/device.ts';

/** Up to so many frames float32 runs too; attention over more takes minutes without matrix units. */
const FLOAT32_FRAMES = 32;
/** Kernels compile, and the card wakes up, on a few frames first. */
const WARM_FRAMES = 8;
/** Points of the first frame that are followed, across and down. */
const TRACKED = 4;
/** What is compared. */
const FIELDS = ['poseEnc', 'depth', 'depthConf', 'worldPoints', 'worldPointsConf', 'track', 'vis', 'conf'] as const;

interface Run {
  readonly predictions: Predictions;
  readonly loadMs: number;
  readonly phases: Readonly<Record<string, number>>;
  readonly peakBytes: number;
}

/** Frames that look a little like a room seen by a moving camera: waves of several lengths whose phase moves with the frame. */
function madeUpFrames(frames: number, width: number, height: number): FrameImages {
  const data = new Float32Array(frames * 3 * height * width);
  let at = 0;
  for (let f = 0; f < frames; f++) {
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const coarse = Math.sin((x + 6 * f) / 61 + c) * Math.cos((y - 2 * f) / 47);
          const fine = Math.sin((x + 9 * f) / 13 - c) * Math.sin((y + 3 * f) / 11);
          data[at++] = 0.5 + 0.3 * coarse + 0.15 * fine;
        }
      }
    }
  }
  return { data, frames, height, width };
}

/** Pictures as the `vggt` command sees them, over and over until there are enough. */
async function pictureFrames(paths: readonly string[], frames: number, side: number): Promise<FrameImages> {
  const pictures = await Promise.all(paths.map(async (path) => frameOf(await decodeImage(path), 'crop', side)));
  return stackFrames(padToLargest(Array.from({ length: frames }, (_, f) => pictures[f % pictures.length]!)));
}

/** Points on a grid inside the first frame. */
function points({ width, height }: FrameImages): Float32Array {
  const along = (i: number, size: number) => ((i + 1) * size) / (TRACKED + 1);
  return Float32Array.from({ length: 2 * TRACKED ** 2 }, (_, i) => {
    const n = Math.floor(i / 2);
    return i % 2 === 0 ? along(n % TRACKED, width) : along(Math.floor(n / TRACKED), height);
  });
}

/** Loads the checkpoint on a device of its own, so that the peak is this run's, and predicts. */
async function run(path: string, dtype: DtypeName, images: FrameImages): Promise<Run> {
  const device = await Device.open();
  try {
    const loading = performance.now();
    const vggt = await VGGT.load(device, path, { dtype });
    const loadMs = performance.now() - loading;
    const options = vggt.heads.includes('track') ? { queryPoints: points(images) } : {};
    const few = Math.min(WARM_FRAMES, images.frames);
    const data = images.data.subarray(0, (few * images.data.length) / images.frames);
    await vggt.predict({ ...images, data, frames: few }, options);

    const phases: Record<string, number> = {};
    let [phase, start] = ['', 0];
    const next = (name: string) => {
      const now = performance.now();
      if (phase !== '') phases[phase] = now - start;
      [phase, start] = [name, now];
    };
    const predictions = await vggt.predict(images, { ...options, onPhase: next });
    next('');
    return { predictions, loadMs, phases, peakBytes: device.memory.peak };
  } finally {
    device.destroy();
  }
}

/** Relative L2 and largest difference of each result, and how much the expected ones vary, which tells whether they say anything. */
function differences(actual: Predictions, expected: Predictions) {
  return FIELDS.flatMap((field) => {
    const [found, wanted] = [actual[field], expected[field]];
    if (found === undefined || wanted === undefined) return [];
    const mean = wanted.reduce((sum, value) => sum + value, 0) / wanted.length;
    const deviation = Math.sqrt(wanted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / wanted.length);
    return [{ field, ...compare(found, wanted), mean, deviation }];
  });
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      frames: { type: 'string' },
      image: { type: 'string', multiple: true, default: [] },
      size: { type: 'string', default: '518x392' },
      modes: { type: 'string' },
      json: { type: 'string' },
    },
    allowPositionals: true,
  });
  const [path, ...more] = positionals;
  if (path === undefined) throw new Error('expected a checkpoint, found none');
  const pictures = [...values.image, ...more];
  const frames = wholeNumber('--frames', 1, 4096)(values.frames ?? String(pictures.length || 4));
  const [width, height] = values.size.split('x').map(Number) as [number, number];
  const { config } = await VGGT.describe(path);
  const images =
    pictures.length > 0 ? await pictureFrames(pictures, frames, config.img_size) : madeUpFrames(frames, width, height);
  const modes = (values.modes ?? (frames > FLOAT32_FRAMES ? 'bfloat16' : 'float32,bfloat16'))
    .split(',')
    .map(oneOf('--modes', DTYPES));

  process.stdout.write(`${frames} frames of ${images.width}x${images.height}\n`);
  const runs = new Map<DtypeName, Run>();
  for (const dtype of modes) {
    const done = await run(path, dtype, images);
    runs.set(dtype, done);
    const times = Object.entries({ load: done.loadMs, ...done.phases }).map(([name, ms]) => `${name} ${duration(ms)}`);
    process.stdout.write(`${dtype}: ${times.join(' | ')} | peak GPU memory ${bytes(done.peakBytes)}\n`);
  }
  const [exact, fast] = [runs.get('float32'), runs.get('bfloat16')];
  const found = exact && fast ? differences(fast.predictions, exact.predictions) : [];
  if (found.length > 0) {
    const head = ['bfloat16 beside float32', 'relative L2', 'largest difference', 'mean', 'deviation'];
    const rows = found.map(({ field, relativeL2, maxAbs, mean, deviation }) => [
      field,
      ...[relativeL2, maxAbs, mean, deviation].map((value) => value.toExponential(2)),
    ]);
    process.stdout.write(`${table([head, ...rows], [false, true, true, true, true]).join('\n')}\n`);
  }
  if (values.json === undefined) return;
  const results = [...runs].map(([dtype, { predictions: _, ...timed }]) => ({ dtype, ...timed }));
  const device = await Device.open();
  const from = origin(device.opened);
  device.destroy();
  const shape = { frames, width: images.width, height: images.height };
  await writeTextFile(
    values.json,
    jsonText({ kind: 'vggt-accuracy', ...from, ...shape, runs: results, differences: found }),
  );
}

await main().catch((error: Error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});

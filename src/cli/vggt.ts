import type { Command } from 'commander';
import { InputError } from '../io/errors.ts';
import { checkOutputFolder } from '../io/output_folder.ts';
import type { DtypeName } from '../models/precision.ts';
import {
  FRAME_MODES,
  type Frame,
  type FrameMode,
  frameOf,
  padToLargest,
  stackFrames,
} from '../models/vggt/image_processor.ts';
import type { Predictions, PredictPhase } from '../models/vggt/predictions.ts';
import { VGGT } from '../models/vggt/vggt.ts';
import type { Point } from '../scene/canvas.ts';
import { POINT_SOURCES, type PointSource } from '../scene/cloud.ts';
import { queriesInFrame } from '../scene/tracks.ts';
import type { Device } from '../tensor/device.ts';
import { count, duration, memory } from './format.ts';
import { INTERRUPTED, withInterrupt } from './interrupt.ts';
import { isVggt } from './model_kind.ts';
import { Progress } from './progress.ts';
import { writeSceneFolder } from './scene_output.ts';
import { findModel, nameOf, withDevice } from './session.ts';
import { StandardOutput } from './standard_output.ts';
import { decimal, dtype, nonEmpty, oneOf, points, wholeNumber } from './values.ts';
import { planVggt, type VggtPlan } from './vggt_plan.ts';
import { checkVisualFlags, readVisuals } from './visuals.ts';

/** The flags of `vggt` as commander names them. */
interface VggtFlags {
  readonly modelPath: string;
  readonly image?: readonly string[];
  readonly imageDir?: string;
  readonly video?: string;
  readonly mode: FrameMode;
  readonly maxNumFrames: number;
  readonly query?: readonly Point[];
  readonly points?: PointSource;
  readonly confPercentile: number;
  readonly outputDir: string;
  readonly force?: true;
  readonly dtype: DtypeName;
  readonly flashAttn2: boolean;
  readonly quiet?: true;
}

const HELP = `
The output folder receives, as far as the checkpoint has the heads for it:
  cameras.json       cameras (OpenCV: camera from world), sizes, the scale of the depth pictures
  images/            the frames as the model saw them
  depth/             NNN.png (16 bits, times depth_scale of cameras.json) and NNN.npy (float32); 0 where a frame shows no picture
  depth_color/       depth in colours, with a bar that tells which depth is which
  points.ply         the cloud with colours and confidences (binary)
  points.glb         the cloud and the cameras for Blender, three.js and other viewers
  colmap/            cameras, images and points3D in COLMAP's text format, for the pictures in images/
  tracks.json        where the points of --query are in every picture, and tracks/ with pictures of that
  viewer.html        cloud and cameras in a page to turn around; opens without a network

Pictures are turned upright as their EXIF data says; transparent ones are laid on white. Lengths have no absolute unit: the model chooses one.
Exit code: 0 written, 1 failed while running, 2 wrong usage or input, 130 ended by Ctrl-C (nothing is written then).

Examples:
  $ spatialstack vggt --model-path facebook/VGGT-1B --image-dir kitchen --output-dir kitchen-3d
  $ spatialstack vggt --model-path facebook/VGGT-1B --video walk.mp4 --max-num-frames 60 --conf-percentile 50 --output-dir walk-3d
  $ spatialstack vggt --model-path facebook/VGGT-1B --image a.jpg b.jpg c.jpg --query 320,240 100,50 --output-dir tracked`;

/** Adds the command `vggt`: pictures of a scene in, cameras, depth, points and tracks out. */
export function addVggtCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('vggt')
    .summary('cameras, depth, a point cloud and tracks from pictures of a scene')
    .description(
      'Predicts cameras, depth, a point cloud and tracks from one or many pictures of a scene with a VGGT checkpoint.',
    )
    .requiredOption(
      '--model-path <path>',
      'checkpoint folder or .safetensors file, or a hub id (from the local hub cache, else downloaded)',
      nonEmpty('--model-path', 'a folder, a file or a hub id'),
    )
    .requiredOption('--output-dir <folder>', 'folder to write', nonEmpty('--output-dir', 'a folder'))
    .option('--image <files...>', 'pictures (JPEG, PNG, WebP, BMP), the first of which is the frame of reference')
    .option('--image-dir <folder>', 'all pictures of a folder, sorted by name')
    .option('--video <file>', 'frames of a video (needs the optional package node-av)')
    .option('--max-num-frames <n>', 'most pictures taken, evenly spread', wholeNumber('--max-num-frames', 1, 4096), 32)
    .option(
      '--mode <name>',
      'how pictures become frames: crop cuts off the top and bottom of tall ones, pad fills up to a square with white',
      oneOf('--mode', FRAME_MODES),
      'crop' as FrameMode,
    )
    .option('--query <x,y...>', 'points of the first picture to follow, in its pixels', points('--query'))
    .option(
      '--points <source>',
      'what points are made of: depth and cameras, or the point head (default: depth where possible)',
      oneOf('--points', POINT_SOURCES),
    )
    .option(
      '--conf-percentile <p>',
      'leave out this percentage of the points, the least confident ones',
      decimal('--conf-percentile', 0, 100),
      25,
    )
    .option('--force', 'replace the results in an output folder that exists; other files in it stay')
    .option('--dtype <name>', 'precision: bfloat16, float16 or float32', dtype, 'bfloat16' as DtypeName)
    .option('--no-flash-attn2', 'take the naive attention kernels')
    .option('--quiet', 'no progress and no summary')
    .addHelpText('after', HELP)
    .action(async (flags: VggtFlags) => exit(await vggt(flags)));
}

/** Frames of one size, and where they come from. */
interface Input {
  readonly frames: readonly Frame[];
  readonly names: readonly string[];
}

/** Runs `vggt`. @returns the exit code */
async function vggt(flags: VggtFlags): Promise<number> {
  const output = { path: flags.outputDir, flag: '--output-dir', force: flags.force === true };
  await checkOutputFolder(output);
  await checkVisualFlags(flags);
  if (flags.image === undefined && flags.imageDir === undefined && flags.video === undefined) {
    throw new InputError('expected one of --image, --image-dir and --video, found none.');
  }
  const progress = new Progress(flags.quiet === true);
  const stages = new Stages(progress);
  const path = await findModel(flags.modelPath, progress);
  if (!(await isVggt(path))) throw new InputError(`${path}: expected a VGGT checkpoint, found another model.`);
  const { config, heads } = await VGGT.describe(path);
  const plan = planVggt(path, heads, {
    follows: flags.query !== undefined,
    ...(flags.points && { points: flags.points }),
  });
  for (const line of plan.absent) progress.line(line);
  stages.begin('read pictures');
  const input = await readFrames(flags, config.img_size, progress);
  const queryPoints = flags.query && queriesInFrame(flags.query, input.frames[0]!);
  stages.end();

  const controller = new AbortController();
  const { signal } = controller;
  try {
    return await withInterrupt(controller, () =>
      withDevice(async (device) => {
        const predictions = await predict(device, path, flags, plan, { input, queryPoints, stages, progress, signal });
        stages.begin('write', { silent: true });
        const cloud = plan.source && { source: plan.source, confPercentile: flags.confPercentile };
        const scene = { ...input, predictions };
        const title = nameOf(flags.outputDir);
        const pointCount = await writeSceneFolder(
          output,
          scene,
          { title, ...(cloud && { cloud }) },
          { progress, signal },
        );
        stages.end();
        if (flags.quiet !== true) new StandardOutput().write(summary(flags, input, pointCount, stages, device));
        return 0;
      }),
    );
  } catch (error) {
    if (signal.aborted) return INTERRUPTED;
    throw error;
  }
}

/** Decodes the pictures and makes frames of them. @throws InputError */
async function readFrames(flags: VggtFlags, target: number, progress: Progress): Promise<Input> {
  const names: string[] = [];
  const { pictures, total } = await readVisuals(flags, { asSeen: true }, (picture, name) => {
    names.push(name);
    progress.show(`read pictures: ${name} …`);
    return frameOf(picture, flags.mode, target);
  });
  const frames = padToLargest(pictures);
  if (frames.length < total) {
    progress.line(
      `taking ${frames.length} of ${total} pictures, evenly spread (--max-num-frames ${flags.maxNumFrames})`,
    );
  }
  const { width, height } = frames[0]!;
  progress.line(`${frames.length} ${frames.length === 1 ? 'frame' : 'frames'} of ${width} x ${height} pixels`);
  return { frames, names };
}

async function predict(
  device: Device,
  path: string,
  flags: VggtFlags,
  { heads }: VggtPlan,
  run: {
    readonly input: Input;
    readonly queryPoints: Float32Array | undefined;
    readonly stages: Stages;
    readonly progress: Progress;
    readonly signal: AbortSignal;
  },
): Promise<Predictions> {
  const { input, queryPoints, stages, progress, signal } = run;
  stages.begin('load', { silent: true });
  const model = await VGGT.load(device, path, {
    dtype: flags.dtype,
    heads,
    ...progress.loading(nameOf(path)),
    ...(flags.flashAttn2 ? {} : { attention: 'naive' as const }),
  });
  try {
    const images = stackFrames(input.frames);
    const onPhase = (phase: PredictPhase) => {
      signal.throwIfAborted();
      stages.begin(phase);
    };
    const predictions = await model.predict(images, { heads, onPhase, ...(queryPoints && { queryPoints }) });
    stages.end();
    signal.throwIfAborted();
    return predictions;
  } finally {
    model.close();
  }
}

/** Times the stages of a run one after another, and shows them as progress. */
class Stages {
  readonly taken: { readonly name: string; readonly ms: number }[] = [];
  #end: (() => void) | undefined;

  constructor(readonly progress: Progress) {}

  /** Ends the current stage and begins one; a silent one shows progress of its own. */
  begin(name: string, { silent = false } = {}): void {
    this.end();
    const start = performance.now();
    const line = silent ? undefined : this.progress.step(name);
    this.#end = () => {
      this.taken.push({ name, ms: performance.now() - start });
      line?.();
    };
  }

  end(): void {
    this.#end?.();
    this.#end = undefined;
  }
}

/** The lines at the end of a run. */
function summary(flags: VggtFlags, { frames }: Input, pointCount: number, { taken }: Stages, device: Device): string {
  const total = taken.reduce((sum, { ms }) => sum + ms, 0);
  const host = memory(process.resourceUsage().maxRSS * 1024);
  const lines = [
    `${flags.outputDir}: ${frames.length} ${frames.length === 1 ? 'frame' : 'frames'}, ${count(pointCount)} points in ${duration(total)}`,
    taken.map(({ name, ms }) => `${name} ${duration(ms)}`).join(' | '),
    `peak GPU memory ${memory(device.memory.peak)}, host memory ${host}`,
  ];
  return `${lines.join('\n')}\n`;
}

import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { InputError } from '../../io/errors.ts';
import { readJsonFileIfPresent } from '../../io/json.ts';
import { Checkpoint } from '../../io/safetensors.ts';
import type { AttentionVariant } from '../../kernels/attention.ts';
import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type LoadWatch, loadWhileCompiling } from '../compile.ts';
import { type DtypeName, type Precision, precisionOf } from '../precision.ts';
import { Weights } from '../weights.ts';
import { Aggregator, type FrameImages } from './aggregator.ts';
import { CameraHead } from './camera_head.ts';
import { parseVggtConfig, type VggtConfig } from './config.ts';
import type { PatchGrid } from './dpt.ts';
import { DptHead } from './dpt_head.ts';
import {
  cameraPrediction,
  HEADS,
  type HeadName,
  type Predictions,
  type PredictOptions,
  type PredictPhase,
  trackPrediction,
} from './predictions.ts';
import { TrackHead } from './track_head.ts';
import type { Place } from './track_places.ts';

export type { FrameImages } from './aggregator.ts';
export type { HeadName, Predictions, PredictOptions } from './predictions.ts';

/** How to load a VGGT. */
export interface VggtOptions extends LoadWatch {
  readonly dtype: DtypeName;
  readonly attention?: AttentionVariant;
  /** Heads to load of those that the checkpoint has; all of them unless given. */
  readonly heads?: readonly HeadName[];
}

/** What a checkpoint says about itself before its weights are read. */
export interface VggtDescription {
  readonly config: VggtConfig;
  readonly heads: readonly HeadName[];
}

/** Patches of a rehearsed frame: 392 x 518 pixels. */
const REHEARSED_ROWS = 28;
const REHEARSED_COLUMNS = 37;
/** What is rehearsed: one frame, as many as fill a GPU, and as many as fill it in the track head, with some points to follow. */
const REHEARSED_FRAMES = [1, 8, 32];
const REHEARSED_POINTS = 8;

/**
 * VGGT (Wang et al. 2025): from pictures of a scene to cameras, depth, points and tracks in one pass. Heads that the checkpoint lacks are undefined. Close it
 * to free its GPU memory.
 */
export class VGGT {
  readonly device: Device;
  readonly aggregator: Aggregator;
  readonly cameraHead: CameraHead | undefined;
  readonly depthHead: DptHead | undefined;
  readonly pointHead: DptHead | undefined;
  readonly trackHead: TrackHead | undefined;
  readonly #weights: Weights;

  /**
   * Declares what it needs of `weights`, scoped at its own names (`aggregator.…`), for whoever owns them to load; the `wanted` heads only where they are there.
   * @throws InputError when a weight is missing or of another shape
   */
  constructor(
    weights: Weights,
    readonly config: VggtConfig,
    precision: Precision,
    wanted: readonly HeadName[] = HEADS,
  ) {
    // The camera's few tokens cost little, and its errors add up over the refinements: always float32, as in the original.
    const exact: Precision = { ...precision, operand: 'f32', cache: 'f32' };
    const found = headsIn(weights.checkpoint, weights.prefix).filter((name) => wanted.includes(name));
    const head = <T>(name: HeadName, build: (weights: Weights) => T): T | undefined =>
      found.includes(name) ? build(weights.at(`${name}_head`)) : undefined;
    this.#weights = weights;
    this.device = weights.device;
    this.aggregator = new Aggregator(weights.at('aggregator'), config, precision);
    this.cameraHead = head('camera', (scope) => new CameraHead(scope, config, exact));
    this.depthHead = head('depth', (scope) => new DptHead(scope, config, precision, 'exp', 1));
    this.pointHead = head('point', (scope) => new DptHead(scope, config, precision, 'inv_log', 3));
    this.trackHead = head('track', (scope) => new TrackHead(scope, config, precision));
  }

  /**
   * Loads a .safetensors file or a folder with one; without a config.json in that folder the sizes are those of VGGT-1B.
   * @throws InputError for what is not such a checkpoint, DeviceError when the GPU cannot hold it
   */
  static async load(device: Device, path: string, options: VggtOptions): Promise<VGGT> {
    const checkpoint = await Checkpoint.open(path);
    const weights = new Weights(device, checkpoint);
    try {
      const precision = precisionOf(options.dtype, options.attention);
      const model = build(weights, await readConfig(path), precision, options.heads);
      const load = () => weights.load(options.onProgress);
      await loadWhileCompiling(device, load, () => model.rehearse(), options.onCompile);
      return model;
    } catch (error) {
      weights.destroy();
      throw error;
    } finally {
      await checkpoint.close();
    }
  }

  /** Reads a checkpoint's sizes and which heads it has, without its weights. @throws InputError */
  static async describe(path: string): Promise<VggtDescription> {
    const checkpoint = await Checkpoint.open(path);
    await checkpoint.close();
    return { config: (await readConfig(path)).config, heads: headsIn(checkpoint) };
  }

  /** The heads that are loaded. */
  get heads(): HeadName[] {
    const found = { camera: this.cameraHead, depth: this.depthHead, point: this.pointHead, track: this.trackHead };
    return HEADS.filter((name) => found[name] !== undefined);
  }

  /** Goes through the motions of predictions from a few frames, for `Device.rehearse`. */
  rehearse(): void {
    const { patch_size } = this.config;
    const [height, width] = [REHEARSED_ROWS * patch_size, REHEARSED_COLUMNS * patch_size];
    const heads = new Set(this.heads);
    this.#weights.rehearse();
    for (const frames of REHEARSED_FRAMES) {
      const images = { data: new Uint8Array(frames * 3 * height * width), frames, height, width };
      if (heads.size === 0) {
        this.aggregator.forward(images, [-1]);
        continue;
      }
      const layers = new Layers(this, images, heads, undefined);
      const [grid, specials] = [this.#grid(images), this.aggregator.patchStart];
      this.cameraHead?.forward(layers.last);
      this.depthHead?.rehearse(layers.dpt, grid, specials);
      this.pointHead?.rehearse(layers.dpt, grid, specials);
      const points = Array.from({ length: REHEARSED_POINTS }, (): Place => [0, 0]);
      this.trackHead?.forward(layers.dpt, grid, specials, points);
    }
  }

  #grid({ height, width }: FrameImages): PatchGrid {
    const { patch_size: patchSize } = this.config;
    return { rows: height / patchSize, columns: width / patchSize, patchSize };
  }

  /**
   * Predicts from frames of one size. Memory grows linearly with the frames: the heads work on a few of them at a time.
   * @throws InputError for frames that do not fit the patch size, absent heads and points outside of the first frame
   */
  async predict(images: FrameImages, options: PredictOptions = {}): Promise<Predictions> {
    const { frames, height, width } = images;
    const { device } = this;
    const wanted = this.#wanted(options);
    const points = queryPlaces(options.queryPoints, images);
    const begin = async (phase: PredictPhase) => {
      await device.finish();
      options.onPhase?.(phase);
    };
    const grid = this.#grid(images);
    const specials = this.aggregator.patchStart;

    await begin('aggregator');
    const layers = new Layers(this, images, wanted, options.observe);
    try {
      // Results get their memory while the GPU is busy.
      const computed = device.finish();
      const depthMaps = wanted.has('depth') ? this.depthHead!.maps(frames, grid) : undefined;
      const pointMaps = wanted.has('point') ? this.pointHead!.maps(frames, grid) : undefined;
      await computed;
      let predictions: Predictions = { frames, height, width };
      if (wanted.has('camera')) {
        await begin('camera');
        const estimates = this.cameraHead!.forward(layers.last);
        predictions = { ...predictions, ...cameraPrediction(await readAll(estimates), height, width) };
      }
      if (depthMaps !== undefined) {
        await begin('depth');
        const [depth, depthConf] = await this.depthHead!.predict(layers.dpt, grid, specials, depthMaps);
        predictions = { ...predictions, depth, depthConf };
      }
      if (pointMaps !== undefined) {
        await begin('point');
        const [worldPoints, worldPointsConf] = await this.pointHead!.predict(layers.dpt, grid, specials, pointMaps);
        predictions = { ...predictions, worldPoints, worldPointsConf };
      }
      if (wanted.has('track')) {
        await begin('track');
        const tracks = this.trackHead!.forward(layers.dpt, grid, specials, points);
        const [coords, vis, conf] = await readAll([tracks.coords, tracks.vis, tracks.conf]);
        const raw = { coords: coords!, vis: vis!, conf: conf! };
        predictions = { ...predictions, ...trackPrediction(raw, frames, this.config.track_head.stride) };
      }
      return predictions;
    } finally {
      layers.dispose();
    }
  }

  /** Frees the weights; the model cannot be used afterwards. */
  close(): void {
    this.#weights.destroy();
  }

  #wanted({ heads, queryPoints }: PredictOptions): Set<HeadName> {
    for (const name of heads ?? []) {
      if (this.heads.includes(name)) continue;
      const found = this.heads.join(', ') || 'none';
      throw new InputError(`${this.#weights.checkpoint.path}: expected a ${name} head, found ${found}.`);
    }
    if (heads?.includes('track') && queryPoints === undefined) {
      throw new InputError('expected points of the first frame to track, found none.');
    }
    return new Set(heads ?? this.heads.filter((name) => name !== 'track' || queryPoints !== undefined));
  }
}

/** The heads of which a checkpoint holds weights. */
export function headsIn({ entries }: Checkpoint, prefix = ''): HeadName[] {
  const names = [...entries.keys()];
  return HEADS.filter((head) => names.some((name) => name.startsWith(`${prefix}${head}_head.`)));
}

/** The sizes in the config.json beside a checkpoint, or those of VGGT-1B where none is. */
async function readConfig(path: string): Promise<{ config: VggtConfig; isGiven: boolean }> {
  const folder = (await stat(path)).isDirectory() ? path : dirname(path);
  const source = join(folder, 'config.json');
  const json = await readJsonFileIfPresent(source);
  return { config: parseVggtConfig(json, source), isGiven: json !== undefined };
}

/** @throws InputError when a weight is missing or of another shape */
function build(
  weights: Weights,
  { config, isGiven }: { config: VggtConfig; isGiven: boolean },
  precision: Precision,
  heads: readonly HeadName[] | undefined,
): VGGT {
  try {
    return new VGGT(weights, config, precision, heads);
  } catch (error) {
    if (isGiven || !(error instanceof InputError)) throw error;
    throw new InputError(
      `${error.message.replace(/\.$/, '')}; without a config.json beside it the sizes of VGGT-1B are expected.`,
    );
  }
}

/** The outputs of the aggregator that some heads read. */
class Layers {
  readonly #outputs = new Map<number, Tensor>();
  readonly #config: VggtConfig;

  constructor(
    { aggregator, config }: VGGT,
    images: FrameImages,
    heads: ReadonlySet<HeadName>,
    observe: PredictOptions['observe'],
  ) {
    this.#config = config;
    const isDense = (['depth', 'point', 'track'] as const).some((name) => heads.has(name));
    const read = new Set([
      ...(isDense ? config.dpt.intermediate_layer_idx : []),
      ...(heads.has('camera') ? [config.depth - 1] : []),
    ]);
    const indices = [...read];
    if (indices.length === 0) throw new InputError('expected at least one head to predict with, found none.');
    aggregator.forward(images, indices, observe).forEach((output, i) => {
      this.#outputs.set(indices[i]!, output);
    });
  }

  /** Those of the four layers that the DPTs read. */
  get dpt(): Tensor[] {
    return this.#config.dpt.intermediate_layer_idx.map((layer) => this.#outputs.get(layer)!);
  }

  get last(): Tensor {
    return this.#outputs.get(this.#config.depth - 1)!;
  }

  dispose(): void {
    for (const output of this.#outputs.values()) output.device.dispose(output);
  }
}

/** Reads tensors and frees them. */
async function readAll(tensors: readonly Tensor[]): Promise<Float32Array[]> {
  const values: Float32Array[] = [];
  for (const tensor of tensors) {
    values.push(await tensor.device.readFloat32(tensor));
    tensor.device.dispose(tensor);
  }
  return values;
}

/** @throws InputError for what are no points of the first frame */
function queryPlaces(queryPoints: Float32Array | undefined, { height, width }: FrameImages): Place[] {
  if (queryPoints === undefined) return [];
  if (queryPoints.length === 0 || queryPoints.length % 2 !== 0) {
    throw new InputError(`expected x and y of at least one point to track, found ${queryPoints.length} values.`);
  }
  return Array.from({ length: queryPoints.length / 2 }, (_, n): Place => {
    const [x, y] = [queryPoints[2 * n]!, queryPoints[2 * n + 1]!];
    if (x >= 0 && x <= width && y >= 0 && y <= height) return [x, y];
    throw new InputError(`expected points to track inside of ${width} x ${height} pixels, found (${x}, ${y}).`);
  });
}

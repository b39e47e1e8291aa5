import { InputError } from '../../io/errors.ts';
import { avgPool2d } from '../../kernels/avg_pool2d.ts';
import { correlation } from '../../kernels/correlation.ts';
import { layerNorm } from '../../kernels/layer_norm.ts';
import { linear } from '../../kernels/matmul.ts';
import { resizeBilinear } from '../../kernels/resize_bilinear.ts';
import { stridedCopy } from '../../kernels/strided_copy.ts';
import { trackTokens } from '../../kernels/track_tokens.ts';
import { trackUpdate } from '../../kernels/track_update.ts';
import { weightedRows } from '../../kernels/weighted_rows.ts';
import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Affine, linearWeights, normWeights } from '../affine.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import type { VggtConfig } from './config.ts';
import { Dpt, type PatchGrid } from './dpt.ts';
import { type Place, placeEmbedding, sampleTaps } from './track_places.ts';
import { UpdateTransformer } from './update_transformer.ts';

const EPS = 1e-5;
/** Pixels by which movements are divided: the side of the released model's pictures, whatever the pictures. */
const MAX_SCALE = 518;

/** Tracks of N points through S frames; everything f32. */
export interface Tracks {
  /** [N, S, 2]: (x, y) in pixels of the half-resolution (1 / stride) feature maps. */
  readonly coords: Tensor;
  /** [N * S, 1]: logits. */
  readonly vis: Tensor;
  readonly conf: Tensor;
}

/** Feature maps of some consecutive frames at every level of the pyramid. */
interface Pyramid {
  readonly firstFrame: number;
  /** Level l: [frames, height / 2^l, width / 2^l, features]. */
  readonly levels: readonly Tensor[];
}

/** Follows points of the first frame through all frames (spec vggt.md section 7). */
export class TrackHead {
  readonly featureExtractor: Dpt;
  readonly fmapNorm: Affine;
  /** [2, 3 * features + 4], from the checkpoint's [1, 2, ...]. */
  readonly queryRefToken: Tensor;
  readonly corrMlp: { readonly fc1: Affine; readonly fc2: Affine };
  readonly updateformer: UpdateTransformer;
  readonly ffeatNorm: Affine;
  readonly ffeatUpdater: Affine;
  readonly visPredictor: Affine;
  readonly confPredictor: Affine;
  readonly #device: Device;
  readonly #config: VggtConfig['track_head'];

  /** @throws InputError when the checkpoint lacks a weight or has one of another shape */
  constructor(weights: Weights, config: VggtConfig, precision: Precision) {
    const { features, hidden_size: hidden, corr_levels, corr_radius, depth, num_heads: heads } = config.track_head;
    if (features % 4 !== 0 || hidden % (2 * heads) !== 0) {
      throw new InputError(
        `expected a track head with a multiple of 4 features and heads of even size, found ${features} features and ${heads} heads for ${hidden} channels.`,
      );
    }
    const width = 3 * features + 4;
    const tracker = weights.at('tracker');
    this.#device = weights.device;
    this.#config = config.track_head;
    this.featureExtractor = new Dpt(
      weights.at('feature_extractor'),
      {
        tokenDim: 2 * config.embed_dim,
        features,
        outChannels: config.dpt.out_channels,
        outputs: features,
        hasPositions: false,
      },
      precision,
    );
    this.fmapNorm = normWeights(tracker, 'fmap_norm', features);
    this.queryRefToken = tracker.vector('query_ref_token', [1, 2, width]).reshape(2, width);
    const corrHidden = tracker.shape('corr_mlp.fc1.weight')[0]!;
    this.corrMlp = {
      fc1: linearWeights(tracker, 'corr_mlp.fc1', corrHidden, corr_levels * (2 * corr_radius + 1) ** 2),
      fc2: linearWeights(tracker, 'corr_mlp.fc2', features, corrHidden),
    };
    this.updateformer = new UpdateTransformer(tracker.at('updateformer'), {
      inputs: width,
      outputs: features + 2,
      hidden,
      heads,
      depth,
      ...(precision.attention && { attention: precision.attention }),
    });
    this.ffeatNorm = normWeights(tracker, 'ffeat_norm', features);
    this.ffeatUpdater = linearWeights(tracker, 'ffeat_updater.0', features, features);
    this.visPredictor = linearWeights(tracker, 'vis_predictor.0', 1, features);
    this.confPredictor = linearWeights(tracker, 'conf_predictor.0', 1, features);
  }

  /**
   * @param layers the tokens of four layers, each f32 [S, tokens, dim] of which each frame's first `specials` are no patches
   * @param points (x, y) in pixels of the first frame
   * @throws InputError for frames too small for the pyramid, and for more points than the device can follow
   */
  forward(layers: readonly Tensor[], grid: PatchGrid, specials: number, points: readonly Place[]): Tracks {
    const device = this.#device;
    const { stride, features, iters } = this.#config;
    const frames = layers[0]!.dim(0);
    const tracks = points.length;
    const size = [
      Math.floor((grid.rows * grid.patchSize) / stride),
      Math.floor((grid.columns * grid.patchSize) / stride),
    ] as const;
    this.#check(size, frames, tracks);
    const [coords, vis, conf] = device.tidy(() => {
      const pyramids = this.#pyramids(layers, grid, specials, size);
      const places = points.map(([x, y]): Place => [x / stride, y / stride]);
      const [taps, positions] = [sampleTaps(places, size), placeEmbedding(places, size, 3 * features + 4)];
      const first = pyramids[0]!.levels[0]!.rows(0, 1).reshape(size[0] * size[1], features);
      const queried = weightedRows(
        first,
        device.upload(taps.index, [tracks, 4], 'i32'),
        device.upload(taps.weights, [tracks, 4], 'f32'),
      );
      const known = {
        positions: device.upload(positions, [tracks, 3 * features + 4], 'f32'),
        reference: this.queryRefToken,
        maxScale: MAX_SCALE,
      };

      const current = device.upload(
        Float32Array.from(places.flatMap((place) => Array.from({ length: frames }, () => place).flat())),
        [tracks, frames, 2],
        'f32',
      );
      let look = repeated(queried, frames);
      for (let i = 0; i < iters; i++) {
        const next = device.tidy(() => {
          const corr = device.tidy(() => this.#corr(pyramids, look, current));
          const delta = this.updateformer.forward(trackTokens({ coords: current, corr, features: look, ...known }));
          trackUpdate(current, delta);
          return this.#updated(look, delta);
        });
        device.dispose(look);
        look = next;
      }
      const rows = look.reshape(tracks * frames, features);
      const logits = ({ weight, bias }: Affine) => linear(rows, weight, { bias });
      return [current, logits(this.visPredictor), logits(this.confPredictor)];
    }) as [Tensor, Tensor, Tensor];
    return { coords, vis, conf };
  }

  #check([height, width]: readonly [number, number], frames: number, tracks: number): void {
    const { corr_levels, stride, hidden_size } = this.#config;
    const least = 2 ** (corr_levels - 1);
    if (Math.min(height, width) < least) {
      throw new InputError(
        `expected frames of at least ${stride * least} x ${stride * least} pixels for ${corr_levels} levels of tracking, found ${stride * width} x ${stride * height}.`,
      );
    }
    // The widest tensor is the inner one of the update transformer's MLPs.
    const inner = Math.max(3 * hidden_size, this.updateformer.timeBlocks[0]?.fc1.weight.dim(0) ?? 0);
    const limit = this.#device.limits.maxStorageBufferBindingSize;
    const bindable = Math.floor(limit / (4 * inner * frames)) - this.updateformer.virtualTracks.dim(1);
    // Each track is a segment of the attention over time, and segments are counted by one dimension of a dispatch.
    const most = Math.min(
      bindable,
      this.#device.limits.maxComputeWorkgroupsPerDimension - this.updateformer.virtualTracks.dim(1),
    );
    if (tracks > most) {
      throw new InputError(
        `expected at most ${Math.max(most, 0)} points to track through ${frames} frames on ${this.#device.opened.name}, found ${tracks}.`,
      );
    }
  }

  /** Normalised feature maps of all frames, a few frames at a time, and their halvings. */
  #pyramids(layers: readonly Tensor[], grid: PatchGrid, specials: number, size: readonly [number, number]): Pyramid[] {
    const device = this.#device;
    const frames = layers[0]!.dim(0);
    const chunk = this.featureExtractor.framesAtOnce(grid);
    const pyramids: Pyramid[] = [];
    for (let firstFrame = 0; firstFrame < frames; firstFrame += chunk) {
      const count = Math.min(chunk, frames - firstFrame);
      const map = device.tidy(() => {
        const fused = this.featureExtractor.forward(layers, { first: firstFrame, count, specials }, grid);
        return layerNorm(resizeBilinear(fused, size), { ...this.fmapNorm, eps: EPS });
      });
      const levels = [map];
      while (levels.length < this.#config.corr_levels) levels.push(avgPool2d(levels.at(-1)!));
      pyramids.push({ firstFrame, levels });
    }
    return pyramids;
  }

  /** What surrounds each track in each frame: [N, S, features]. */
  #corr(pyramids: readonly Pyramid[], look: Tensor, coords: Tensor): Tensor {
    const { corr_levels, corr_radius: radius, features } = this.#config;
    const [tracks, frames] = coords.shape as [number, number];
    const samples = (2 * radius + 1) ** 2;
    const sampled = this.#device.tensor([tracks, frames, corr_levels * samples]);
    for (const { firstFrame, levels } of pyramids) {
      levels.forEach((map, level) => {
        correlation(map, look, coords, sampled, { firstFrame, scale: 2 ** -level, radius, column: level * samples });
      });
    }
    const { fc1, fc2 } = this.corrMlp;
    const hidden = linear(sampled.reshape(tracks * frames, corr_levels * samples), fc1.weight, {
      bias: fc1.bias,
      activation: 'gelu_erf',
    });
    return linear(hidden, fc2.weight, { bias: fc2.bias }).reshape(tracks, frames, features);
  }

  /** Track features after the update that follows the step in `delta` [N, S, 2 + features]. Its norm, of one group, is a layer norm. */
  #updated(look: Tensor, delta: Tensor): Tensor {
    const [tracks, frames, features] = look.shape as [number, number, number];
    const rows = tracks * frames;
    const update = this.#device.tensor([rows, features]);
    stridedCopy(delta, update, {
      sizes: [1, 1, rows, features],
      sourceStrides: [0, 0, features + 2, 1],
      sourceOffset: 2,
      targetStrides: [0, 0, features, 1],
    });
    return linear(layerNorm(update, { ...this.ffeatNorm, eps: EPS }), this.ffeatUpdater.weight, {
      bias: this.ffeatUpdater.bias,
      activation: 'gelu_erf',
      residual: look.reshape(rows, features),
    }).reshape(tracks, frames, features);
  }
}

/** Rows [N, C], each `times` times: [N, times, C]. */
function repeated(rows: Tensor, times: number): Tensor {
  const [count, dim] = rows.shape as [number, number];
  const result = rows.device.tensor([count, times, dim]);
  stridedCopy(rows, result, {
    sizes: [1, count, times, dim],
    sourceStrides: [0, dim, 0, 1],
    targetStrides: [0, times * dim, dim, 1],
  });
  return result;
}

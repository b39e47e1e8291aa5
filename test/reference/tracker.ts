import { attentionReference } from './attention.ts';
import { avgPool2dReference } from './avg_pool2d.ts';
import { correlationReference } from './correlation.ts';
import { layerNorm } from './layer_norm.ts';
import { type activations, linearReference } from './matmul.ts';

const EPS = 1e-5;
const MAX_SCALE = 518;

/** Sizes of a tracker, as in a VGGT's config.json. */
export interface TrackerSizes {
  readonly features: number;
  readonly hidden_size: number;
  readonly corr_levels: number;
  readonly corr_radius: number;
  readonly stride: number;
  readonly depth: number;
  readonly num_heads: number;
}

/** What a tracker says after a refinement. */
export interface TrackState {
  /** [S, N, 2] in pixels of the pictures. */
  readonly track: Float64Array;
  /** [S, N] */
  readonly vis: Float64Array;
  readonly conf: Float64Array;
}

/** Neighbours of a coordinate in a row of `size` pixels, clamped to the border, and the weight of the second. */
function taps(coordinate: number, size: number): [low: number, high: number, weight: number] {
  const clamped = Math.min(Math.max(coordinate, 0), size - 1);
  const low = Math.floor(clamped);
  return [low, Math.min(low + 1, size - 1), clamped - low];
}

/** sin(p w_k), then cos(p w_k), of a pixel index at dim / 2 frequencies 10000^(-k / (dim / 2)). */
function axisTable(index: number, dim: number): number[] {
  const half = dim / 2;
  const angles = Array.from({ length: half }, (_, k) => index * 10000 ** (-k / half));
  return [...angles.map(Math.sin), ...angles.map(Math.cos)];
}

/** sin(z d_0), cos(z d_0), sin(z d_1), ... with d_k = 2k * 1000 / dim: `dim` values. */
function movement(z: number, dim: number): number[] {
  return Array.from({ length: dim / 2 }, (_, k) => [
    Math.sin((z * 2 * k * 1000) / dim),
    Math.cos((z * 2 * k * 1000) / dim),
  ]).flat();
}

/**
 * VGGT's tracker (spec vggt.md section 7.2 to 7.4) written down naively in float64: what its refinements would say without rounding. `weights` gives a tensor
 * below `track_head.tracker.` by name.
 */
export class TrackerReference {
  constructor(
    readonly sizes: TrackerSizes,
    readonly weights: (name: string) => ArrayLike<number>,
  ) {}

  /** `maps` [S, H, W, features] are the normalised feature maps, `points` [N, 2] pixels of the first picture. @returns the state after each refinement */
  run(
    maps: ArrayLike<number>,
    [frames, height, width]: readonly [number, number, number],
    points: ArrayLike<number>,
    refinements: number,
  ): TrackState[] {
    const { features: channels, corr_levels, stride } = this.sizes;
    const levels: [map: ArrayLike<number>, height: number, width: number][] = [[maps, height, width]];
    for (let l = 1; l < corr_levels; l++) {
      const [map, h, w] = levels[l - 1]!;
      levels.push([avgPool2dReference(map, [frames, h, w, channels]), Math.floor(h / 2), Math.floor(w / 2)]);
    }
    const tracks = points.length / 2;
    const tokens = tracks * frames;
    const places = Float64Array.from(points, (value) => value / stride);
    const coords = Float64Array.from(
      { length: 2 * tokens },
      (_, i) => places[2 * Math.floor(i / (2 * frames)) + (i % 2)]!,
    );
    const embedding = this.#placeEmbedding(places, height, width);
    let look: Float64Array = Float64Array.from({ length: tokens * channels }, (_, i) => {
      const n = Math.floor(i / channels / frames);
      const [x0, x1, u] = taps(places[2 * n]!, width);
      const [y0, y1, v] = taps(places[2 * n + 1]!, height);
      const at = (y: number, x: number) => maps[(y * width + x) * channels + (i % channels)]!;
      return (1 - v) * ((1 - u) * at(y0, x0) + u * at(y0, x1)) + v * ((1 - u) * at(y1, x0) + u * at(y1, x1));
    });
    const states: TrackState[] = [];
    for (let i = 0; i < refinements; i++) {
      const corr = this.#corr(levels, look, coords, tracks, frames);
      const delta = this.#update(this.#tokens(coords, corr, look, embedding, frames), tracks, frames);
      const step = channels + 2;
      for (let token = 0; token < tokens; token++) {
        if (token % frames === 0) continue; // the first frame's are given
        for (const axis of [0, 1]) coords[2 * token + axis]! += delta[token * step + axis]!;
      }
      const change = Float64Array.from(
        { length: look.length },
        (_, j) => delta[Math.floor(j / channels) * step + 2 + (j % channels)]!,
      );
      const normed = this.#norm(change, 'ffeat_norm', channels);
      look = this.#linear(normed, 'ffeat_updater.0', channels, channels, { activation: 'gelu_erf', residual: look });
      states.push(this.#state(coords, look, tracks, frames));
    }
    return states;
  }

  #state(coords: Float64Array, look: Float64Array, tracks: number, frames: number): TrackState {
    const { features, stride } = this.sizes;
    const byFrame = (values: Float64Array, width: number) =>
      Float64Array.from(values, (_, i) => {
        const pair = Math.floor(i / width);
        return values[((pair % tracks) * frames + Math.floor(pair / tracks)) * width + (i % width)]!;
      });
    const probability = (name: string) =>
      byFrame(this.#linear(look, name, 1, features), 1).map((logit) => 1 / (1 + Math.exp(-logit)));
    return {
      track: byFrame(coords, 2).map((value) => stride * value),
      vis: probability('vis_predictor.0'),
      conf: probability('conf_predictor.0'),
    };
  }

  /** [N, 3 * features + 4]: the table of a map's sines and cosines, sampled at each point. */
  #placeEmbedding(places: Float64Array, height: number, width: number): number[][] {
    const half = (3 * this.sizes.features + 4) / 2;
    const along = (coordinate: number, size: number) => {
      const [low, high, weight] = taps(coordinate, size);
      const [a, b] = [axisTable(low, half), axisTable(high, half)];
      return a.map((value, i) => (1 - weight) * value + weight * b[i]!);
    };
    return Array.from({ length: places.length / 2 }, (_, n) => [
      ...along(places[2 * n]!, width),
      ...along(places[2 * n + 1]!, height),
    ]);
  }

  #corr(
    levels: readonly [map: ArrayLike<number>, height: number, width: number][],
    look: Float64Array,
    coords: Float64Array,
    tracks: number,
    frames: number,
  ): Float64Array {
    const { features, corr_radius: radius } = this.sizes;
    const samples = (2 * radius + 1) ** 2;
    const sampled = new Float64Array(tracks * frames * levels.length * samples);
    levels.forEach(([map, height, width], level) => {
      const sizes = { tracks, allFrames: frames, firstFrame: 0, scale: 2 ** -level, radius };
      const window = correlationReference(map, look, coords, { map: [frames, height, width, features], ...sizes });
      window.forEach((value, i) => {
        sampled[(Math.floor(i / samples) * levels.length + level) * samples + (i % samples)] = value;
      });
    });
    const inner = this.weights('corr_mlp.fc1.bias').length;
    const hidden = this.#linear(sampled, 'corr_mlp.fc1', inner, levels.length * samples, { activation: 'gelu_erf' });
    return this.#linear(hidden, 'corr_mlp.fc2', features, inner);
  }

  #tokens(
    coords: Float64Array,
    corr: Float64Array,
    look: Float64Array,
    embedding: readonly number[][],
    frames: number,
  ): Float64Array {
    const { features } = this.sizes;
    const reference = this.weights('query_ref_token');
    const width = 3 * features + 4;
    return Float64Array.from(
      Array.from({ length: coords.length / 2 }, (_, token) => {
        const n = Math.floor(token / frames);
        const flow = [0, 1].map((axis) => coords[2 * token + axis]! - coords[2 * n * frames + axis]!);
        const scaled = flow.map((value) => value / MAX_SCALE);
        const own = (values: Float64Array) => values.subarray(token * features, (token + 1) * features);
        const parts = [
          ...flow.flatMap((z) => movement(z, features / 2)),
          ...scaled,
          ...scaled,
          ...own(corr),
          ...own(look),
        ];
        const set = token % frames === 0 ? 0 : width;
        return parts.map((value, i) => value + embedding[n]![i]! + reference[set + i]!);
      }).flat(),
    );
  }

  /** The update transformer: [N, S, 3 * features + 4] to [N, S, features + 2]. */
  #update(input: Float64Array, tracks: number, frames: number): Float64Array {
    const { hidden_size: hidden, features, depth } = this.sizes;
    const inputs = 3 * features + 4;
    const start = this.#linear(
      this.#norm(input, 'updateformer.input_norm', inputs),
      'updateformer.input_transform',
      hidden,
      inputs,
    );
    const virtual = this.weights('updateformer.virual_tracks');
    const virtualTracks = virtual.length / hidden;
    const all = tracks + virtualTracks;
    let x: Float64Array = Float64Array.from({ length: all * frames * hidden }, (_, i) => {
      const n = Math.floor(i / hidden / frames);
      return n < tracks ? start[i]! : virtual[(n - tracks) * hidden + (i % hidden)]!;
    });
    for (let i = 0; i < depth; i++) {
      x = this.#block(x, `updateformer.time_blocks.${i}`, all);
      // By frame: the real tracks and the virtual ones.
      const some = (first: number, count: number) =>
        Float64Array.from({ length: frames * count * hidden }, (_, j) => {
          const row = Math.floor(j / hidden);
          return x[((first + (row % count)) * frames + Math.floor(row / count)) * hidden + (j % hidden)]!;
        });
      let points: Float64Array = some(0, tracks);
      let others: Float64Array = some(tracks, virtualTracks);
      others = this.#block(others, `updateformer.space_virtual2point_blocks.${i}`, frames, points);
      others = this.#block(others, `updateformer.space_virtual_blocks.${i}`, frames);
      points = this.#block(points, `updateformer.space_point2virtual_blocks.${i}`, frames, others);
      x = x.map((_, j) => {
        const row = Math.floor(j / hidden);
        const [n, s] = [Math.floor(row / frames), row % frames];
        const [group, count, at] = n < tracks ? [points, tracks, n] : [others, virtualTracks, n - tracks];
        return group[(s * count + at) * hidden + (j % hidden)]!;
      });
    }
    const sum = start.map((value, i) => value + x[i]!);
    return this.#linear(
      this.#norm(sum, 'updateformer.output_norm', hidden),
      'updateformer.flow_head',
      features + 2,
      hidden,
    );
  }

  /** A self-attention or cross-attention block over `segments` equal runs of tokens; both skip connections start from normalised tokens. */
  #block(x: Float64Array, name: string, segments: number, context?: Float64Array): Float64Array {
    const { hidden_size: hidden, num_heads: heads } = this.sizes;
    const y = this.#norm(x, `${name}.norm1`, hidden);
    const seen = context === undefined ? y : this.#norm(context, `${name}.norm_context`, hidden);
    const attn = `${name}.${context === undefined ? 'attn' : 'cross_attn'}`;
    const [weight, bias] = [this.weights(`${attn}.in_proj_weight`), this.weights(`${attn}.in_proj_bias`)];
    const part = (of: Float64Array, index: number) =>
      linearReference(
        of,
        Array.prototype.slice.call(weight, index * hidden * hidden, (index + 1) * hidden * hidden) as number[],
        [of.length / hidden, hidden, hidden],
        { bias: Array.prototype.slice.call(bias, index * hidden, (index + 1) * hidden) as number[] },
      );
    const dim = hidden / heads;
    const shape = { heads, kvHeads: heads, dim, segments, scale: dim ** -0.5, causal: false };
    const attended = attentionReference({ q: part(y, 0), k: part(seen, 1), v: part(seen, 2), ...shape });
    const mixed = this.#linear(attended, `${attn}.out_proj`, hidden, hidden, { residual: y });
    const z = this.#norm(mixed, `${name}.norm2`, hidden);
    const inner = this.weights(`${name}.mlp.fc1.bias`).length;
    const wide = this.#linear(z, `${name}.mlp.fc1`, inner, hidden, { activation: 'gelu_erf' });
    return this.#linear(wide, `${name}.mlp.fc2`, hidden, inner, { residual: mixed });
  }

  #norm(x: Float64Array, name: string, dim: number): Float64Array {
    return layerNorm(x, dim, EPS, this.weights(`${name}.weight`), this.weights(`${name}.bias`));
  }

  #linear(
    x: Float64Array,
    name: string,
    outputs: number,
    inputs: number,
    options: { activation?: keyof typeof activations; residual?: Float64Array } = {},
  ): Float64Array {
    const bias = this.weights(`${name}.bias`);
    return linearReference(x, this.weights(`${name}.weight`), [x.length / inputs, outputs, inputs], {
      bias,
      ...options,
    });
  }
}

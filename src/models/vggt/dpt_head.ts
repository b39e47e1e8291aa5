import { type DenseActivation, type DenseTarget, denseOutput } from '../../kernels/dense_output.ts';
import { resizeBilinear } from '../../kernels/resize_bilinear.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Affine } from '../affine.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import type { VggtConfig } from './config.ts';
import { Convolution, Dpt, type PatchGrid, type SomeFrames } from './dpt.ts';

/** Memory that the map at full resolution takes at a time: the least that every device can bind. */
const BAND_BYTES = 128 * 1024 * 1024;
/** The smallest pages of the systems we know. */
const PAGE_BYTES = 4096;

/** Values [frames, H, W, values] and confidences [frames, H, W]. */
export type DenseMaps = readonly [values: Float32Array, confidence: Float32Array];

/** The depth and the point head: a value and a confidence for every pixel (spec vggt.md section 6). */
export class DptHead {
  readonly dpt: Dpt;
  readonly outputConv2: readonly [Convolution, Affine];
  readonly #activation: DenseActivation;
  /** Values of a pixel. */
  readonly values: number;

  /** @throws InputError when the checkpoint lacks a weight or has one of another shape */
  constructor(weights: Weights, config: VggtConfig, precision: Precision, activation: DenseActivation, values: number) {
    const { features, out_channels: outChannels } = config.dpt;
    const outputs = features / 2;
    this.dpt = new Dpt(
      weights,
      { tokenDim: 2 * config.embed_dim, features, outChannels, outputs, hasPositions: true },
      precision,
    );
    const hidden = weights.shape('scratch.output_conv2.0.weight')[0]!;
    const conv2 = weights.at('scratch.output_conv2');
    this.outputConv2 = [
      new Convolution(conv2, '0', [hidden, outputs, 3, 3], this.dpt.precision),
      { weight: conv2.matrix('2.weight', [values + 1, hidden, 1, 1]), bias: conv2.vector('2.bias', [values + 1]) },
    ];
    this.#activation = activation;
    this.values = values;
  }

  /**
   * The tokens of four layers, each f32 [frames, tokens, dim] of which each frame's first `specials` are no patches, to values and confidences of every
   * pixel. Frames are processed a few at a time, read back while the next are computed, and their full resolution in bands of rows: GPU memory does not grow
   * with the frames.
   * @param results of `maps`, to be filled
   */
  async predict(layers: readonly Tensor[], grid: PatchGrid, specials: number, results: DenseMaps): Promise<DenseMaps> {
    const { device } = layers[0]!;
    const frames = layers[0]!.dim(0);
    const chunk = this.dpt.framesAtOnce(grid);
    const readings: Promise<unknown>[] = [];
    try {
      for (let first = 0; first < frames; first += chunk) {
        const count = Math.min(chunk, frames - first);
        const tensors = device.tidy(() => this.#frames(layers, { first, count, specials }, grid));
        const reading = tensors.map((tensor, i) => {
          const start = (first * results[i]!.length) / frames;
          const done = device.readInto(tensor, new Uint8Array(results[i]!.buffer, 4 * start));
          device.dispose(tensor); // the copy is recorded
          return done;
        });
        const previous = readings.at(-1);
        readings.push(Promise.all(reading));
        await previous;
      }
      await readings.at(-1);
      return results;
    } finally {
      await Promise.allSettled(readings);
    }
  }

  /**
   * Memory for the results of `predict`, every page of it touched: the system finds memory only then (25 to 65 ms for 52 MB on two cores), which is best done
   * while the GPU is at work on something else.
   */
  maps(frames: number, grid: PatchGrid): DenseMaps {
    const pixels = frames * grid.rows * grid.columns * grid.patchSize ** 2;
    const maps: DenseMaps = [new Float32Array(pixels * this.values), new Float32Array(pixels)];
    for (const map of maps) for (let i = 0; i < map.length; i += PAGE_BYTES / 4) map[i] = 0;
    return maps;
  }

  /** Goes through the motions of `predict` for the first frames, for `Device.rehearse`. */
  rehearse(layers: readonly Tensor[], grid: PatchGrid, specials: number): void {
    const count = Math.min(layers[0]!.dim(0), this.dpt.framesAtOnce(grid));
    this.#frames(layers, { first: 0, count, specials }, grid);
  }

  /** Values f32 [count, H, W, values] and confidences f32 [count, H, W] of some frames. */
  #frames(layers: readonly Tensor[], some: SomeFrames, grid: PatchGrid): [Tensor, Tensor] {
    const { device } = layers[0]!;
    const [height, width] = [grid.rows * grid.patchSize, grid.columns * grid.patchSize];
    const { count } = some;
    const values = device.tensor([count, height, width, this.values]);
    const confidence = device.tensor([count, height, width]);
    const positions = this.dpt.positions([height, width], this.dpt.config.outputs, grid);
    const bandRows = Math.max(1, Math.floor(BAND_BYTES / (4 * width * this.dpt.config.outputs)) - 2);
    const map = this.dpt.forward(layers, some, grid);
    for (let i = 0; i < count; i++) {
      for (let row = 0; row < height; row += bandRows) {
        const rows = { first: row, count: Math.min(bandRows, height - row) };
        const target = { value: values, confidence, first: (i * height + row) * width };
        device.tidy(() => this.#band(map.rows(i, 1), { size: [height, width], rows, positions, target }));
      }
    }
    return [values, confidence];
  }

  /** Rows of one frame at full resolution. */
  #band(
    map: Tensor,
    {
      size,
      rows: { first, count },
      positions,
      target,
    }: {
      size: readonly [number, number];
      rows: { first: number; count: number };
      positions: { positions?: Tensor };
      target: DenseTarget;
    },
  ): void {
    // A 3x3 convolution reads one row more on either side, where the picture has one.
    const above = first > 0 ? 1 : 0;
    const below = first + count < size[0] ? 1 : 0;
    const rows = { first: first - above, count: count + above + below };
    const resized = resizeBilinear(map, size, { ...positions, rows, dtype: this.dpt.precision.operand });
    const [hidden, last] = this.outputConv2;
    const padding = { top: 1 - above, bottom: 1 - below, left: 1, right: 1 };
    const features = hidden.forward(resized, { padding, relu: true });
    denseOutput(features, last.weight, last.bias, this.#activation, target);
  }
}

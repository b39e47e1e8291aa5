import { conv2d } from '../../kernels/conv2d.ts';
import { type DenseActivation, denseOutput } from '../../kernels/dense_output.ts';
import { resizeBilinear } from '../../kernels/resize_bilinear.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Affine } from '../affine.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import type { VggtConfig } from './config.ts';
import { Dpt, type PatchGrid, patchTokens } from './dpt.ts';

/** Memory that the map at full resolution takes at a time: the least that every device can bind. */
const BAND_BYTES = 128 * 1024 * 1024;
/** The smallest pages of the systems we know. */
const PAGE_BYTES = 4096;

/** Values [frames, H, W, values] and confidences [frames, H, W]. */
export type DenseMaps = readonly [values: Float32Array, confidence: Float32Array];

/** The depth and the point head: a value and a confidence for every pixel (spec vggt.md section 6). */
export class DptHead {
  readonly dpt: Dpt;
  readonly outputConv2: readonly [Affine, Affine];
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
    const conv = (name: string, shape: number[], operand: Precision['operand']): Affine => ({
      weight: weights.forOperands(operand).matrix(`scratch.output_conv2.${name}.weight`, shape),
      bias: weights.vector(`scratch.output_conv2.${name}.bias`, [shape[0]!]),
    });
    this.outputConv2 = [
      conv('0', [hidden, outputs, 3, 3], this.dpt.precision.operand),
      conv('2', [values + 1, hidden, 1, 1], 'f32'),
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
  #frames(
    layers: readonly Tensor[],
    { first, count, specials }: { first: number; count: number; specials: number },
    grid: PatchGrid,
  ): [Tensor, Tensor] {
    const { device } = layers[0]!;
    const [height, width] = [grid.rows * grid.patchSize, grid.columns * grid.patchSize];
    const values = device.tensor([count, height, width, this.values]);
    const confidence = device.tensor([count, height, width]);
    const positions = this.dpt.positions([height, width], this.dpt.config.outputs, grid);
    const bandRows = Math.max(1, Math.floor(BAND_BYTES / (4 * width * this.dpt.config.outputs)) - 2);
    const map = device.tidy(() =>
      this.dpt.forward(
        layers.map((layer) => patchTokens(layer, first, count, specials)),
        grid,
      ),
    );
    for (let i = 0; i < count; i++) {
      for (let row = 0; row < height; row += bandRows) {
        const rows = { first: row, count: Math.min(bandRows, height - row) };
        const start = (i * height + row) * width;
        device.tidy(() => {
          const [value, certainty] = this.#band(map.rows(i, 1), [height, width], rows, positions);
          device.copy(value, 0, values, start * this.values, value.size);
          device.copy(certainty, 0, confidence, start, certainty.size);
        });
      }
    }
    return [values, confidence];
  }

  /** Rows of one frame at full resolution. */
  #band(
    map: Tensor,
    [height, width]: readonly [number, number],
    { first, count }: { first: number; count: number },
    positions: { positions?: Tensor },
  ): [Tensor, Tensor] {
    const { operand } = this.dpt.precision;
    // A 3x3 convolution reads one row more on either side, where the picture has one.
    const above = first > 0 ? 1 : 0;
    const below = first + count < height ? 1 : 0;
    const rows = { first: first - above, count: count + above + below };
    const resized = resizeBilinear(map, [height, width], { ...positions, rows, dtype: operand });
    const [hidden, last] = this.outputConv2;
    const features = conv2d(resized, hidden.weight, {
      bias: hidden.bias,
      padding: { top: 1 - above, bottom: 1 - below, left: 1, right: 1 },
      relu: true,
      variant: operand === 'f16' ? 'subgroup_matrix' : 'register',
    });
    return denseOutput(features, last.weight, last.bias, this.#activation);
  }
}

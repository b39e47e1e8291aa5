import type { Device } from '../../tensor/device.ts';
import { type Dtype, elementCount } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Precision } from '../precision.ts';
import type { Qwen35TextConfig } from './config.ts';

/** Keys and values of a full-attention layer: [capacity, num_key_value_heads, head_dim], keys after norm and rotation. */
export interface KeyValueState {
  readonly k: Tensor;
  readonly v: Tensor;
}

/** State of a gated delta net: the last columns before the convolution [channels, kernel - 1], and S [value heads, key dim, value dim]. */
export interface DeltaState {
  readonly conv: Tensor;
  readonly recurrent: Tensor;
}

/** Where a decoding step that is recorded once and replayed finds its place in the sequence. */
export interface Place {
  /** Tokens seen and drawn, on the GPU (kernels/cursor.ts). */
  readonly cursor: Tensor;
  /** Most tokens of the cache that a replay may attend to. */
  readonly reach: number;
}

/** Where a range of a buffer may begin on every device. */
const ALIGNMENT = 256;

/** Bytes from one f32 tensor of this shape to the next one in the same buffer. */
function alignedBytes(shape: readonly number[]): number {
  return Math.ceil((4 * elementCount(shape)) / ALIGNMENT) * ALIGNMENT;
}

/**
 * What one sequence carries from token to token (spec qwen3_5_text.md section 7). Its memory comes from the pool, so that the next sequence finds the same
 * buffers with everything that was bound to them; the delta nets' states, which start at zero, share one.
 */
export class Cache {
  /** Tokens seen so far. */
  length = 0;
  readonly layers: readonly (KeyValueState | DeltaState)[];
  readonly #owned: Tensor[] = [];

  constructor(
    readonly device: Device,
    config: Qwen35TextConfig,
    precision: Precision,
    /** Most tokens that fit. */
    readonly capacity: number,
  ) {
    const keysShape = [capacity, config.num_key_value_heads, config.head_dim];
    const [convShape, recurrentShape] = deltaShapes(config);
    const convBytes = alignedBytes(convShape);
    const layerBytes = convBytes + alignedBytes(recurrentShape);
    const deltaNets = config.layer_types.filter((type) => type !== 'full_attention').length;
    const states = device.clear(this.#own([(deltaNets * layerBytes) / 4], 'f32'));
    let at = 0;
    this.layers = config.layer_types.map((type) => {
      if (type === 'full_attention') {
        return { k: this.#own(keysShape, precision.cache), v: this.#own(keysShape, precision.cache) };
      }
      const conv = new Tensor(device, states.storage, convShape, 'f32', at);
      const recurrent = new Tensor(device, states.storage, recurrentShape, 'f32', at + convBytes);
      at += layerBytes;
      return { conv, recurrent };
    });
  }

  #own(shape: readonly number[], dtype: Dtype): Tensor {
    const tensor = this.device.pooled(shape, dtype);
    this.#owned.push(tensor);
    return tensor;
  }

  /** Returns the GPU memory. */
  destroy(): void {
    for (const tensor of this.#owned.splice(0)) this.device.dispose(tensor);
  }
}

/** Shapes of a delta net's two states. */
function deltaShapes(config: Qwen35TextConfig): [conv: number[], recurrent: number[]] {
  const { linear_num_key_heads, linear_key_head_dim, linear_num_value_heads, linear_value_head_dim } = config;
  const channels = 2 * linear_num_key_heads * linear_key_head_dim + linear_num_value_heads * linear_value_head_dim;
  return [
    [channels, config.linear_conv_kernel_dim - 1],
    [linear_num_value_heads, linear_key_head_dim, linear_value_head_dim],
  ];
}

/** Bytes that a cache of `capacity` tokens takes. */
export function cacheBytes(config: Qwen35TextConfig, precision: Precision, capacity: number): number {
  const width = precision.cache === 'f16' ? 2 : 4;
  const delta = deltaShapes(config).reduce((sum, shape) => sum + 4 * elementCount(shape), 0);
  const full = 2 * width * capacity * config.num_key_value_heads * config.head_dim;
  return config.layer_types.reduce((sum, type) => sum + (type === 'full_attention' ? full : delta), 0);
}

import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
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

/** What one sequence carries from token to token (spec qwen3_5_text.md section 7). */
export class Cache {
  /** Tokens seen so far. */
  length = 0;
  readonly layers: readonly (KeyValueState | DeltaState)[];

  constructor(
    readonly device: Device,
    config: Qwen35TextConfig,
    precision: Precision,
    /** Most tokens that fit. */
    readonly capacity: number,
  ) {
    this.layers = config.layer_types.map((type) => {
      if (type === 'full_attention') {
        const shape = [capacity, config.num_key_value_heads, config.head_dim];
        return { k: device.persistent(shape, precision.cache), v: device.persistent(shape, precision.cache) };
      }
      const {
        linear_num_key_heads,
        linear_key_head_dim,
        linear_num_value_heads,
        linear_value_head_dim,
        linear_conv_kernel_dim,
      } = config;
      const channels = 2 * linear_num_key_heads * linear_key_head_dim + linear_num_value_heads * linear_value_head_dim;
      return {
        conv: device.clear(device.persistent([channels, linear_conv_kernel_dim - 1], 'f32')),
        recurrent: device.clear(
          device.persistent([linear_num_value_heads, linear_key_head_dim, linear_value_head_dim], 'f32'),
        ),
      };
    });
  }

  /** Frees the GPU memory. */
  destroy(): void {
    for (const layer of this.layers)
      for (const tensor of Object.values(layer) as Tensor[]) this.device.destroyTensor(tensor);
  }
}

/** Bytes that a cache of `capacity` tokens takes. */
export function cacheBytes(config: Qwen35TextConfig, precision: Precision, capacity: number): number {
  const width = precision.cache === 'f16' ? 2 : 4;
  const {
    linear_num_key_heads,
    linear_key_head_dim,
    linear_num_value_heads,
    linear_value_head_dim,
    linear_conv_kernel_dim,
  } = config;
  const channels = 2 * linear_num_key_heads * linear_key_head_dim + linear_num_value_heads * linear_value_head_dim;
  const delta =
    4 *
    (channels * (linear_conv_kernel_dim - 1) + linear_num_value_heads * linear_key_head_dim * linear_value_head_dim);
  const full = 2 * width * capacity * config.num_key_value_heads * config.head_dim;
  return config.layer_types.reduce((sum, type) => sum + (type === 'full_attention' ? full : delta), 0);
}

import { operandFor } from '../../kernels/blocks.ts';
import { convolvedLinear } from '../../kernels/causal_conv1d.ts';
import { type DeltaShape, deltaDtype, type GatedDeltaResult, gatedDeltaNorm } from '../../kernels/gated_delta.ts';
import type { DeltaMixer } from '../../kernels/layer_mixers.ts';
import type { MixerStep } from '../../kernels/layer_step.ts';
import { type InputNorm, linear } from '../../kernels/matmul.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import type { DeltaState } from './cache.ts';
import type { Qwen35TextConfig } from './config.ts';

/** Gated DeltaNet (spec qwen3_5_text.md section 6): linear attention with a decaying, error-correcting state. */
export class GatedDeltaNet {
  /** in_proj_qkv, in_proj_z, in_proj_b and in_proj_a one under the other. */
  readonly in_proj: Tensor;
  readonly conv1d: Tensor;
  readonly A_log: Tensor;
  readonly dt_bias: Tensor;
  readonly norm: Tensor;
  readonly out_proj: Tensor;
  readonly shape: DeltaShape;
  readonly channels: number;

  constructor(
    weights: Weights,
    readonly config: Qwen35TextConfig,
    readonly precision: Precision,
  ) {
    const {
      hidden_size,
      linear_num_value_heads: valueHeads,
      linear_value_head_dim: valueDim,
      linear_conv_kernel_dim,
    } = config;
    this.shape = { keyHeads: config.linear_num_key_heads, valueHeads, keyDim: config.linear_key_head_dim, valueDim };
    const values = valueHeads * valueDim;
    this.channels = 2 * this.shape.keyHeads * this.shape.keyDim + values;
    this.in_proj = weights.stack(
      ['in_proj_qkv.weight', 'in_proj_z.weight', 'in_proj_b.weight', 'in_proj_a.weight'],
      [this.channels, hidden_size],
      [values, hidden_size],
      [valueHeads, hidden_size],
      [valueHeads, hidden_size],
    );
    this.conv1d = weights
      .vector('conv1d.weight', [this.channels, 1, linear_conv_kernel_dim])
      .reshape(this.channels, linear_conv_kernel_dim);
    this.A_log = weights.vector('A_log', [valueHeads]);
    this.dt_bias = weights.vector('dt_bias', [valueHeads]);
    this.norm = weights.vector('norm.weight', [valueDim]);
    this.out_proj = weights.matrix('out_proj.weight', [hidden_size, values]);
  }

  /**
   * @param h f32 [T, hidden_size], normalised on its way in
   * @param state continued and updated in place
   * @param residual [T, hidden_size] f32, added to the result
   */
  forward(h: Tensor, norm: InputNorm, state: DeltaState, residual?: Tensor): Tensor {
    const { normed, groups } = this.#rule(h, norm, state);
    return linear(normed, this.out_proj, { groups, ...(residual && { residual }) });
  }

  /** Moves the state on over tokens of which nothing else is wanted: h f32 [T, hidden_size]. */
  remember(h: Tensor, norm: InputNorm, state: DeltaState): void {
    h.device.tidy(() => void this.#rule(h, norm, state));
  }

  /** All but the last product. */
  #rule(h: Tensor, norm: InputNorm, state: DeltaState): GatedDeltaResult {
    const { valueHeads, valueDim } = this.shape;
    const values = valueHeads * valueDim;

    // projected: qkv | z | b | a
    const dtype = deltaDtype(h.device, h.dim(0), this.shape, this.precision.operand);
    const conv = { weight: this.conv1d, state: state.conv, dtype };
    const { projected, y } = convolvedLinear(h, this.in_proj, norm, conv);
    const gates = { tensor: projected, b: this.channels + values, a: this.channels + values + valueHeads };
    return gatedDeltaNorm(y, gates, this.A_log, this.dt_bias, state.recurrent, this.shape, {
      weight: this.norm,
      z: this.channels,
      eps: this.config.rms_norm_eps,
      dtype: operandFor(this.out_proj, this.precision.operand, h.dim(0)),
    });
  }

  /** Its weights, as one token takes them. */
  get step(): MixerStep<DeltaMixer> {
    const { in_proj, conv1d, A_log, dt_bias, norm, shape, out_proj } = this;
    const mixer = { kind: 'delta', conv1d, A_log, dt_bias, norm, shape } as const;
    return { in_proj, mixer, headEps: this.config.rms_norm_eps, out_proj };
  }
}

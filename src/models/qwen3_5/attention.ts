import { operandFor } from '../../kernels/blocks.ts';
import { cachedAttention, cacheHeads, type ProjectedHeads } from '../../kernels/cached_attention.ts';
import type { Rope } from '../../kernels/head_norm_rope.ts';
import { heads } from '../../kernels/heads.ts';
import type { AttentionMixer } from '../../kernels/layer_mixers.ts';
import type { MixerStep } from '../../kernels/layer_step.ts';
import { type InputNorm, linear } from '../../kernels/matmul.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import type { KeyValueState, Place } from './cache.ts';
import { type Qwen35TextConfig, rotaryDim } from './config.ts';

/**
 * Gated full attention (spec qwen3_5_text.md section 5): grouped keys, q/k norm, partial rotary embedding, and a sigmoid gate on the
 * result that comes out of `q_proj` beside the queries.
 */
export class GatedAttention {
  /** q_proj, k_proj and v_proj one under the other: per query head 2 * head_dim rows (query, gate), then keys, then values. */
  readonly qkv_proj: Tensor;
  readonly o_proj: Tensor;
  readonly q_norm: Tensor;
  readonly k_norm: Tensor;

  constructor(
    weights: Weights,
    readonly config: Qwen35TextConfig,
    readonly precision: Precision,
  ) {
    const { hidden_size, num_attention_heads, num_key_value_heads, head_dim } = config;
    const keys = num_key_value_heads * head_dim;
    this.qkv_proj = weights.stack(
      ['q_proj.weight', 'k_proj.weight', 'v_proj.weight'],
      [2 * num_attention_heads * head_dim, hidden_size],
      [keys, hidden_size],
      [keys, hidden_size],
    );
    this.o_proj = weights.matrix('o_proj.weight', [hidden_size, num_attention_heads * head_dim]);
    this.q_norm = weights.vector('q_norm.weight', [head_dim]);
    this.k_norm = weights.vector('k_norm.weight', [head_dim]);
  }

  /**
   * @param h f32 [T, hidden_size]
   * @param state receives their keys and values
   * @param at how many tokens of the sequence came before, or for one token where the GPU finds that out
   * @param residual [T, hidden_size] f32, added to the result
   */
  forward(h: Tensor, norm: InputNorm, rope: Rope, state: KeyValueState, at: number | Place, residual?: Tensor): Tensor {
    const { num_attention_heads: H, head_dim: D } = this.config;
    const tokens = h.dim(0);
    const qkv = linear(h, this.qkv_proj, { norm });
    const tokenStride = qkv.dim(1);
    const query = heads(qkv, { tokens, heads: H, dim: D, tokenStride, headStride: 2 * D });
    const gate = heads(qkv, { tokens, heads: H, dim: D, tokenStride, headStride: 2 * D, offset: D });
    const attended = cachedAttention({ query, gate, ...this.#keysAndValues(qkv, 2 * H * D) }, state, {
      qNorm: this.#headNorm(this.q_norm),
      kNorm: this.#headNorm(this.k_norm),
      rope,
      ...(typeof at === 'number' ? { total: at + tokens } : { total: at.reach, cursor: at.cursor }),
      dtype: operandFor(this.o_proj, this.precision.operand, tokens),
      variant: this.precision.attention,
    });
    return linear(attended, this.o_proj, residual === undefined ? {} : { residual });
  }

  /**
   * Stores the keys and values of tokens of which nothing else is wanted.
   * @param h f32 [T, hidden_size]
   * @param at how many tokens of the sequence came before
   */
  remember(h: Tensor, norm: InputNorm, rope: Rope, state: KeyValueState, at: number): void {
    const queries = 2 * this.config.num_attention_heads * this.config.head_dim;
    h.device.tidy(() => {
      const kv = linear(h, this.qkv_proj.rows(queries, this.qkv_proj.dim(0) - queries), { norm });
      const kNorm = this.#headNorm(this.k_norm);
      cacheHeads(this.#keysAndValues(kv, 0), state, { kNorm, rope, total: at + h.dim(0) });
    });
  }

  /** The heads of a projection that holds k_proj's and v_proj's results from a column on. */
  #keysAndValues(projection: Tensor, offset: number): Pick<ProjectedHeads, 'key' | 'value'> {
    const { num_key_value_heads, head_dim: dim } = this.config;
    const [tokens, tokenStride] = projection.shape as [number, number];
    const place = { tokens, heads: num_key_value_heads, dim, tokenStride };
    const key = heads(projection, { ...place, offset });
    return { key, value: heads(projection, { ...place, offset: offset + num_key_value_heads * dim }) };
  }

  #headNorm(weight: Tensor) {
    return { kind: 'rms', weight, eps: this.config.rms_norm_eps, weightOffset: 1 } as const;
  }

  /** Its weights, as one token takes them. */
  get step(): MixerStep<AttentionMixer> {
    const { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: dim, rms_norm_eps } = this.config;
    const shape = { heads, kvHeads, dim, half: rotaryDim(this.config) / 2, cache: this.precision.cache };
    const mixer = { kind: 'attention', q_norm: this.q_norm, k_norm: this.k_norm, shape } as const;
    return { in_proj: this.qkv_proj, mixer, headEps: rms_norm_eps, out_proj: this.o_proj };
  }
}

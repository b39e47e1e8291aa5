import { DTYPE_CODE } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type AttentionVariant, attention, attentionSupports, attentionWork } from './attention.ts';
import { decode } from './attention_decode.ts';
import type { OperandDtype } from './blocks.ts';
import { expectDtype, expectShape } from './checks.ts';
import { type HeadNorm, headNormRope, type Rope } from './head_norm_rope.ts';
import { type Heads, heads } from './heads.ts';
import { tileFor, tunable } from './tuning.ts';

/** What one f32 projection holds for attention, side by side. */
export interface ProjectedHeads {
  /** [T, heads, dim]. */
  readonly query: Heads;
  /** [T, kv heads, dim], `value` alike. */
  readonly key: Heads;
  readonly value: Heads;
  /** [T, heads, dim]: the result is multiplied by its sigmoid. */
  readonly gate: Heads;
}

/** How heads are prepared, and where in the sequence they stand. */
export interface CachedAttentionOptions {
  /** RMS norms of queries and keys, without bias. */
  readonly qNorm: HeadNorm;
  readonly kNorm: HeadNorm;
  /** One block. */
  readonly rope: Rope;
  /** How many tokens of the cache are attended to: those before, and these; with `cursor` most that there may be. */
  readonly total: number;
  /** For one token: tells how many came before (kernels/cursor.ts), and `rope` the same. */
  readonly cursor?: Tensor | undefined;
  /** Of the result, and (f16 for blocks) of prepared queries where they are stored. */
  readonly dtype: OperandDtype;
  /** As in `attention`. */
  readonly variant?: AttentionVariant | undefined;
}

/** Whether one token's heads are prepared by the attention's own kernel. It takes a CPU many seconds to compile. */
const STEP = tunable('attention/step', [{ FUSED: 1 }, { FUSED: 0 }], { FUSED: 0 });

/**
 * Stores heads in a cache: keys go through norm and rotary embedding, values stay as they are.
 * @param cache k and v [capacity, kv heads, dim] f32 or f16, written from token `total - T` on, or where the cursor says
 */
export function cacheHeads(
  { key, value }: Pick<ProjectedHeads, 'key' | 'value'>,
  cache: { readonly k: Tensor; readonly v: Tensor },
  { kNorm, rope, total, cursor }: Pick<CachedAttentionOptions, 'kNorm' | 'rope' | 'total' | 'cursor'>,
): void {
  const { tokens, heads: count, dim } = key;
  const width = count * dim;
  const offset = cursor === undefined ? (total - tokens) * width : 0;
  const slot = { tokens, heads: count, dim, tokenStride: width, offset };
  headNormRope(key, heads(cache.k, slot), { norm: kNorm, rope, cursor });
  headNormRope(value, heads(cache.v, slot), { cursor });
}

/**
 * Causal attention over a cache that these tokens join: queries and keys go through norm and rotary embedding, keys and values are stored,
 * and the gate is applied. For one token, two kernels may do it all.
 * @param cache as in `cacheHeads`
 * @returns [T, heads * dim]
 */
export function cachedAttention(
  projected: ProjectedHeads,
  cache: { readonly k: Tensor; readonly v: Tensor },
  options: CachedAttentionOptions,
): Tensor {
  const { query, key, value, gate } = projected;
  const { qNorm, rope, total, cursor, dtype, variant } = options;
  const { device } = query.tensor;
  const { tokens, heads: count, dim } = query;
  const width = key.heads * dim;
  const seen = { tokens: total, heads: key.heads, dim, tokenStride: width };
  const [k, v] = [heads(cache.k, seen), heads(cache.v, seen)];

  const isFused =
    tileFor(device, STEP).FUSED === 1 &&
    (cursor !== undefined || (variant ?? 'decode') === 'decode') &&
    key.headStride === dim &&
    value.headStride === dim &&
    attentionSupports('decode', query, k, v);
  if (isFused) return step(projected, { k, v }, options);
  return device.tidy(() => {
    const q = heads(device.tensor([tokens, count, dim], dtype === 'f32' ? 'f32' : 'f16'), {
      tokens,
      heads: count,
      dim,
      tokenStride: count * dim,
    });
    headNormRope(query, q, { norm: qNorm, rope });
    cacheHeads(projected, cache, options);
    return attention(q, k, v, { causal: true, cursor, gate, dtype, ...(variant && { variant }) });
  });
}

/** One token. */
function step(
  { query, key, value, gate }: ProjectedHeads,
  { k, v }: { readonly k: Heads; readonly v: Heads },
  { qNorm, kNorm, rope, total, cursor, dtype }: CachedAttentionOptions,
): Tensor {
  const { dim } = query;
  const operation = 'cachedAttention';
  expectDtype(operation, 'the projection', query.tensor, 'f32');
  expectDtype(operation, 'the cache', k.tensor, 'f32', 'f16');
  expectDtype(operation, 'the table', rope.table, 'f32');
  expectShape(operation, "the queries' norm", qNorm.weight, [dim]);
  expectShape(operation, "the keys' norm", kNorm.weight, [dim]);
  expectShape(operation, 'the table', rope.table, [cursor === undefined ? 1 : rope.table.dim(0), rope.half, 2]);
  const out = query.tensor.device.tensor([1, query.heads * dim], dtype);
  decode(out, {
    q: query,
    k,
    constants: { DIM: dim, Q_DTYPE: DTYPE_CODE.f32, KV_DTYPE: DTYPE_CODE[k.tensor.dtype as 'f32' | 'f16'] },
    params: {
      query_tokens: 1,
      key_tokens: total,
      heads: query.heads,
      kv_heads: key.heads,
      q_offset: query.offset,
      q_token: query.tokenStride,
      q_head: query.headStride,
      k_offset: k.offset,
      k_token: k.tokenStride,
      k_head: k.headStride,
      v_offset: v.offset,
      v_token: v.tokenStride,
      v_head: v.headStride,
      scale: 1 / Math.sqrt(dim),
      first: 0,
    },
    operands: [query.tensor, k.tensor, v.tensor],
    step: {
      constants: {
        HALF: rope.half,
        EPS: qNorm.eps,
        WEIGHT_OFFSET: qNorm.weightOffset ?? 0,
        NEW_K: key.offset,
        NEW_V: value.offset,
      },
      bindings: [qNorm.weight, kNorm.weight, rope.table],
    },
    work: () => attentionWork(query, k, { causal: true, dtype }),
    cursor,
    gate,
  });
  return out;
}

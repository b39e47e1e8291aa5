import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * Per-head vectors that lie at regular strides inside a tensor: the queries inside a fused projection, one gate beside them, or a
 * range of a K/V cache. Element (t, h, d) lies at `offset + t * tokenStride + h * headStride + d`; everything counts elements.
 */
export interface Heads {
  readonly tensor: Tensor;
  readonly tokens: number;
  readonly heads: number;
  readonly dim: number;
  readonly tokenStride: number;
  readonly headStride: number;
  readonly offset: number;
}

/** Where the heads lie; `headStride` is `dim` and `offset` is 0 unless given. */
export interface HeadsView {
  readonly tokens: number;
  readonly heads: number;
  readonly dim: number;
  readonly tokenStride: number;
  readonly headStride?: number;
  readonly offset?: number;
}

/** Whether heads begin and lie at, and are, whole multiples of `count` elements. */
export function areWhole(count: number, ...views: readonly Heads[]): boolean {
  return views.every(
    ({ dim, offset, tokenStride, headStride }) =>
      dim % count === 0 && offset % count === 0 && tokenStride % count === 0 && headStride % count === 0,
  );
}

/** A strided view of per-head vectors inside `tensor`. @throws KernelError when an element would lie outside the tensor */
export function heads(tensor: Tensor, view: HeadsView): Heads {
  const { headStride = view.dim, offset = 0 } = view;
  const described = () =>
    `heads ${view.tokens} x ${view.heads} x ${view.dim} at offset ${offset}, strides ${view.tokenStride} and ${headStride}`;
  const { tokens, heads, dim, tokenStride } = view;
  for (const n of [tokens, heads, dim, tokenStride, headStride, offset]) {
    if (!Number.isInteger(n) || n < 0) throw new KernelError(`${described()}: not all are whole numbers`);
  }
  const last = offset + (tokens - 1) * tokenStride + (heads - 1) * headStride + dim - 1;
  if (last >= tensor.size) throw new KernelError(`${described()} reach element ${last} of a tensor [${tensor.shape}]`);
  return { tensor, tokens, heads, dim, tokenStride, headStride, offset };
}

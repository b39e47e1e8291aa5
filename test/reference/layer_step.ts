import type { DeltaShape } from '../../src/kernels/gated_delta.ts';
import type { AttentionShape } from '../../src/kernels/layer_mixers.ts';
import { attentionReference } from './attention.ts';
import { causalConv1dReference } from './causal_conv1d.ts';
import { sigmoidGate, siluMul } from './elementwise.ts';
import { gatedDeltaReference } from './gated_delta.ts';
import { gatedRmsNorm } from './gated_rms_norm.ts';
import { rope } from './head_norm_rope.ts';
import { linearReference } from './matmul.ts';
import { rmsNorm } from './rms_norm.ts';

/** What comes after a mixer, row-major: out_proj [hidden, mixed], norm [hidden], gateUp [2 * inner, hidden], down [hidden, inner]. */
export interface EndValues {
  readonly out_proj: Float32Array;
  readonly norm: Float32Array;
  readonly gateUp: Float32Array;
  readonly down: Float32Array;
}

/** What follows a mixer's result, its heads' norm done, in double. Norms are zero-centred. */
function finishLayer(
  a: ArrayLike<number>,
  residual: Float32Array,
  { out_proj, norm, gateUp, down }: EndValues,
  eps: number,
): Float64Array {
  const hidden = norm.length;
  const inner = down.length / hidden;
  const h = linearReference(a, out_proj, [1, hidden, a.length], { residual });
  const n = rmsNorm(Float32Array.from(h), norm, eps, 1);
  const f = siluMul(linearReference(n, gateUp, [1, 2 * inner, hidden]), inner);
  return linearReference(f, down, [1, hidden, inner], { residual: h });
}

/** A gated delta net up to its last product: in_proj [projected, hidden], conv [channels, taps] and its past [channels, taps - 1]. */
export interface DeltaValues {
  readonly inNorm: Float32Array;
  readonly in_proj: Float32Array;
  readonly conv: Float32Array;
  readonly past: Float32Array;
  readonly A_log: Float32Array;
  readonly dt_bias: Float32Array;
  /** [valueDim]. */
  readonly norm: Float32Array;
  /** [valueHeads, keyDim, valueDim]. */
  readonly state: Float32Array;
}

/** Naive twin of `deltaLayer`, in double: the layer's output and both states after it. `headEps` is of the heads' norm. */
export function deltaLayerReference(
  h: Float32Array,
  end: EndValues,
  { inNorm, in_proj, conv, past, A_log, dt_bias, norm, state }: DeltaValues,
  shape: DeltaShape,
  { eps, headEps }: { eps: number; headEps: number },
): { out: Float64Array; conv: Float32Array; recurrent: Float64Array } {
  const projected = in_proj.length / h.length;
  const mixed = shape.valueHeads * shape.valueDim;
  const channels = projected - mixed - 2 * shape.valueHeads;
  const p = Float32Array.from(linearReference(rmsNorm(h, inNorm, eps, 1), in_proj, [1, projected, h.length]));
  const sizes = { tokens: 1, channels, kernelSize: conv.length / channels };
  const convolved = causalConv1dReference(p.subarray(0, channels), conv, past, sizes);
  const from = (column: number) => p.subarray(channels + column);
  const recurrent = Float64Array.from(state);
  const [b, a] = [from(mixed), from(mixed + shape.valueHeads)];
  const o = gatedDeltaReference(Float32Array.from(convolved.y), b, a, A_log, dt_bias, recurrent, shape);
  const out = finishLayer(gatedRmsNorm(o, norm, from(0), headEps), h, end, eps);
  return { out, conv: convolved.state, recurrent };
}

/** Gated attention up to its last product: in_proj [projected, hidden], norms of a head, the cache's tokens, and the angles of this one, in radians [half]. */
export interface AttentionValues {
  readonly inNorm: Float32Array;
  readonly in_proj: Float32Array;
  readonly q_norm: Float32Array;
  readonly k_norm: Float32Array;
  /** [seen, kvHeads, dim], keys after norm and rotation. */
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly angles: readonly number[];
}

/** Naive twin of `attentionLayer`, in double: the layer's output, and the token's key and value. */
export function attentionLayerReference(
  h: Float32Array,
  end: EndValues,
  { inNorm, in_proj, q_norm, k_norm, k, v, angles }: AttentionValues,
  { heads, kvHeads, dim, half }: AttentionShape,
  { eps, headEps }: { eps: number; headEps: number },
): { out: Float64Array; k: Float64Array; v: Float64Array } {
  const p = linearReference(rmsNorm(h, inNorm, eps, 1), in_proj, [1, in_proj.length / h.length, h.length]);
  const part = (offset: number, count: number, stride: number) =>
    Array.from({ length: count }, (_, i) => [...p.subarray(offset + i * stride, offset + i * stride + dim)]).flat();
  const turned = (values: number[], weight: Float32Array) =>
    rope(rmsNorm(values, weight, headEps, 1), [1, values.length / dim, dim], angles, half, 1);
  const key = turned(part(2 * heads * dim, kvHeads, dim), k_norm);
  const value = Float64Array.from(part((2 * heads + kvHeads) * dim, kvHeads, dim));
  const attended = attentionReference({
    q: turned(part(0, heads, 2 * dim), q_norm),
    k: [...k, ...key],
    v: [...v, ...value],
    heads,
    kvHeads,
    dim,
    segments: 1,
    scale: 1 / Math.sqrt(dim),
    causal: true,
  });
  const gated = sigmoidGate(attended, part(dim, heads, 2 * dim));
  return { out: finishLayer(gated, h, end, eps), k: key, v: value };
}

import type { DeltaShape } from '../../src/kernels/gated_delta.ts';
import { causalConv1dReference } from './causal_conv1d.ts';
import { siluMul } from './elementwise.ts';
import { gatedDeltaReference } from './gated_delta.ts';
import { gatedRmsNorm } from './gated_rms_norm.ts';
import { linearReference } from './matmul.ts';
import { rmsNorm } from './rms_norm.ts';

/** What comes after a mixer, row-major: out_proj [hidden, mixed], norm [hidden], gateUp [2 * inner, hidden], down [hidden, inner]. */
export interface EndValues {
  readonly out_proj: Float32Array;
  readonly norm: Float32Array;
  readonly gateUp: Float32Array;
  readonly down: Float32Array;
}

/** Naive twin of `finishLayer`, in double, of a mixer's result with its norm done. Norms are zero-centred. */
export function finishLayerReference(
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
  const out = finishLayerReference(gatedRmsNorm(o, norm, from(0), headEps), h, end, eps);
  return { out, conv: convolved.state, recurrent };
}

import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { expectWholeWords, type ResultDtype } from './checks.ts';
import { fitsMatvec, type InputNorm, linear } from './matmul.ts';

/** Columns of a wider matrix: `channels` of them from column `offset`, in rows of `stride` values. */
export interface ColumnView {
  readonly channels: number;
  readonly stride: number;
  readonly offset: number;
}

/** Tokens per workgroup: each of its threads reads K - 1 values more than this. */
const TOKENS = 8;

/**
 * Causal depthwise convolution, then SiLU (Qwen3.5's delta-net): `y[t, c] = silu(sum_k weight[c, k] * u[t - (K - 1) + k, c])`.
 * @param u f32 [T, stride], of which `view` says the columns
 * @param weight f32 [C, K], 1 <= K <= 8; the last tap multiplies the current token
 * @param state f32 [C, K - 1]: the inputs before this call, oldest first (zeros at the start); updated in place to the last K - 1 of (state, u)
 * @returns [T, C], f32 unless `dtype` says f16
 */
export function causalConv1d(
  u: Tensor,
  view: ColumnView,
  weight: Tensor,
  state: Tensor,
  dtype: ResultDtype = 'f32',
): Tensor {
  const { channels, stride, offset } = view;
  const kernelSize = weight.shape[1] ?? 0;
  const tokens = u.shape[0] ?? 0;
  if (
    [u, weight, state].some(({ dtype, shape }) => dtype !== 'f32' || shape.length !== 2) ||
    u.dim(1) !== stride ||
    offset < 0 ||
    offset + channels > stride ||
    weight.dim(0) !== channels ||
    state.dim(0) !== channels ||
    state.dim(1) !== kernelSize - 1 ||
    kernelSize > 8
  ) {
    throw new KernelError(
      `causal_conv1d: columns ${offset}..${offset + channels} of u ${u.dtype} [${u.shape}] with rows of ${stride}, weight ${weight.dtype} [${weight.shape}], state ${state.dtype} [${state.shape}]`,
    );
  }
  expectWholeWords('causal_conv1d', channels, dtype);
  const { device } = u;
  const out = device.tensor([tokens, channels], dtype);
  if (out.size === 0) return out;
  const constants = { K: kernelSize };
  const params = { tokens, channels, stride, offset };
  device.run({
    kernel: 'causal_conv1d/sequence',
    constants: { ...constants, TOKENS, OUT_F16: dtype === 'f16' },
    bindings: [u, weight, kernelSize > 1 ? state : weight, out], // an empty state cannot be bound; it is not read then
    params,
    workgroups: [Math.ceil(channels / 128), Math.ceil(tokens / TOKENS)],
    work: () => ({
      flops: out.size * (2 * kernelSize + 4),
      bytes: 4 * out.size + out.byteLength + weight.byteLength + state.byteLength,
    }),
  });
  if (kernelSize > 1) {
    // A dispatch of its own, since every workgroup above may read the old state.
    device.run({
      kernel: 'causal_conv1d/state',
      constants,
      bindings: [u, state],
      params,
      workgroups: [Math.ceil(channels / 64)],
      work: () => ({ bytes: 2 * state.byteLength }),
    });
  }
  return out;
}

/** A projection and the convolved form of its first columns. */
export interface ConvolvedProjection {
  /** f32 [T, N]; of its first columns, those that were convolved, nothing is said. */
  readonly projected: Tensor;
  /** [T, C]. */
  readonly y: Tensor;
}

/**
 * A linear layer after an RMSNorm, whose first C columns go through `causalConv1d`; for one token all of it is one kernel, where `dtype` is f32.
 * @param x f32 [T, K]
 * @param projection [N, K]
 * @param conv weight f32 [C, taps]; state f32 [C, taps - 1], updated in place
 */
export function convolvedLinear(
  x: Tensor,
  projection: Tensor,
  norm: InputNorm,
  conv: { readonly weight: Tensor; readonly state: Tensor; readonly dtype?: ResultDtype },
): ConvolvedProjection {
  const channels = conv.weight.dim(0);
  if (conv.dtype !== 'f16' && x.dim(0) === 1 && conv.weight.dim(1) > 1 && fitsMatvec(x, projection)) {
    const projected = linear(x, projection, { norm, conv });
    return { projected, y: projected.reshape(projected.size).rows(0, channels).reshape(1, channels) };
  }
  const projected = linear(x, projection, { norm });
  const view = { channels, stride: projected.dim(1), offset: 0 };
  return { projected, y: causalConv1d(projected, view, conv.weight, conv.state, conv.dtype) };
}

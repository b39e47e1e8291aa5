import { type Device, grid } from '../tensor/device.ts';
import { DTYPE_BYTES, type Dtype } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Work } from '../tensor/work.ts';
import type { OperandDtype } from './blocks.ts';
import { chunkedDelta, chunkedDeltaOnMatrices, MATRIX_DIM, MATRIX_SUBGROUP } from './gated_delta_chunked.ts';
import { gatedRmsNorm } from './gated_rms_norm.ts';
import { heads } from './heads.ts';
import type { GroupNorm } from './matmul.ts';
import { tileFor, tunable } from './tuning.ts';

/** Head counts and sizes of a gated delta net. Value head h reads key head floor(h / (valueHeads / keyHeads)). */
export interface DeltaShape {
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
}

/** The rungs of the ladder. */
export const GATED_DELTA_VARIANTS = ['recurrent', 'chunked', 'chunked_matrix'] as const;
export type GatedDeltaVariant = (typeof GATED_DELTA_VARIANTS)[number];

/** How to run the rule. */
export interface GatedDeltaOptions {
  /** Takes this variant instead of the one chosen by size: for tests and benchmarks. */
  readonly variant?: GatedDeltaVariant;
  /** Chunks of 64 tokens that the chunked forms take at a time instead of as many as they bound their memory to: for tests. */
  readonly segmentChunks?: number;
}

/** Where b and a lie in the rows of a fused projection, in elements. */
export interface GateColumns {
  readonly tensor: Tensor;
  readonly b: number;
  readonly a: number;
}

/** From this many tokens on, the chunked forms win. */
const CHUNKED_FROM = 64;

/** What the rule cannot do without: three passes over the state a token (predict, update, read out); y, gates and result once, the state twice. */
export function gatedDeltaWork(
  tokens: number,
  { keyHeads, valueHeads, keyDim, valueDim }: DeltaShape,
  yDtype: 'f32' | 'f16' = 'f32',
): Work {
  const state = valueHeads * keyDim * valueDim;
  const yRow = (2 * keyHeads * keyDim + valueHeads * valueDim) * DTYPE_BYTES[yDtype];
  const row = yRow + 4 * (valueHeads * valueDim + 2 * valueHeads);
  return { flops: 6 * tokens * state, bytes: tokens * row + 8 * state };
}

/** Whether a variant can do this on the device with a y of this dtype. */
export function gatedDeltaSupports(
  device: Device,
  variant: GatedDeltaVariant,
  { keyDim, valueDim }: DeltaShape,
  dtype: Dtype,
): boolean {
  switch (variant) {
    case 'recurrent':
      return dtype === 'f32';
    case 'chunked':
      return dtype === 'f32' && keyDim <= 128 && keyDim % 4 === 0 && valueDim % 4 === 0;
    case 'chunked_matrix':
      return (
        dtype === 'f16' &&
        keyDim === MATRIX_DIM &&
        valueDim === MATRIX_DIM &&
        device.multipliesMatrices &&
        device.opened.subgroupMinSize === MATRIX_SUBGROUP
      );
  }
}

/** The variant for these sizes: the last rung that can do it, and `recurrent` for few tokens. */
function chooseVariant(device: Device, tokens: number, shape: DeltaShape, dtype: Dtype): GatedDeltaVariant {
  const order = tokens >= CHUNKED_FROM ? (['chunked_matrix', 'chunked'] as const) : [];
  return order.find((variant) => gatedDeltaSupports(device, variant, shape, dtype)) ?? 'recurrent';
}

/** The dtype that the rule's y is best left in, where products may have operands of `operand`: f16 for the form on subgroup matrices, and no other. */
export function deltaDtype(device: Device, tokens: number, shape: DeltaShape, operand: 'f32' | 'f16'): 'f32' | 'f16' {
  return chooseVariant(device, tokens, shape, operand) === 'chunked_matrix' ? 'f16' : 'f32';
}

/**
 * The gated delta rule over T tokens, continuing from `state`: normalises q and k, forms the gates, runs the recurrence
 * (spec qwen3_5_text.md 6.3 to 6.5).
 * @param y [T, 2*keyHeads*keyDim + valueHeads*valueDim], f32 or as `deltaDtype` says: q | k | v after convolution
 * @param gates f32 rows that hold b and a
 * @param state f32 [valueHeads, keyDim, valueDim], updated in place
 * @returns f32 [T, valueHeads, valueDim]
 */
export function gatedDelta(
  y: Tensor,
  gates: GateColumns,
  A_log: Tensor,
  dt_bias: Tensor,
  state: Tensor,
  shape: DeltaShape,
  options: GatedDeltaOptions = {},
): Tensor {
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const device = y.device;
  const tokens = y.dim(0);
  const stride = gates.tensor.dim(-1);
  checkOperands(y, gates, A_log, dt_bias, state, shape);
  const { segmentChunks } = options;
  const variant = options.variant ?? chooseVariant(device, tokens, shape, y.dtype);
  if (!gatedDeltaSupports(device, variant, shape, y.dtype))
    throw new KernelError(
      `gatedDelta: variant ${variant} cannot do key heads of ${keyDim} and value heads of ${valueDim} with a y of ${y.dtype} here`,
    );
  if (variant === 'chunked_matrix')
    return device.tidy(() => chunkedDeltaOnMatrices(gates, A_log, dt_bias, { y, state, shape, segmentChunks }));
  const constants = { KEY_HEADS: keyHeads, VALUE_HEADS: valueHeads, DK: keyDim, DV: valueDim };
  return device.tidy(() => {
    const qk = device.tensor([tokens, 2 * keyHeads, keyDim]);
    const gate = device.tensor([tokens, valueHeads, 2]);
    device.run({
      kernel: 'gated_delta/prepare',
      constants,
      bindings: [y, gates.tensor, A_log, dt_bias, qk, gate],
      params: { tokens, stride, b: gates.b, a: gates.a },
      workgroups: grid(tokens),
      work: () => ({ bytes: 2 * qk.byteLength + 2 * gate.byteLength }),
    });
    if (variant === 'chunked') return chunkedDelta(qk, gate, { y, state, shape, segmentChunks });
    const o = device.tensor([tokens, valueHeads, valueDim]);
    device.run({
      kernel: 'gated_delta/recurrent',
      constants,
      bindings: [qk, y, gate, state, o],
      params: { tokens },
      workgroups: [Math.ceil(valueDim / 32), valueHeads],
      work: () => ({ flops: gatedDeltaWork(tokens, shape).flops }),
    });
    return o;
  });
}

/** The norm at the end of a gated delta net: `weight * o * rsqrt(mean(o^2) + eps) * silu(z)`, per head. */
export interface OutputNorm {
  /** f32 [valueDim]. */
  readonly weight: Tensor;
  /** Column of z in the projection that holds b and a. */
  readonly z: number;
  readonly eps: number;
  /** Of the result where it is a product's operand as it is. */
  readonly dtype: OperandDtype;
}

/** A normed result; for one token the norm's factors are left to the product that reads it. */
export interface GatedDeltaResult {
  /** [T, valueHeads * valueDim]. */
  readonly normed: Tensor;
  readonly groups?: GroupNorm;
}

/** Most threads of a workgroup of the one-token kernel, and how many workgroups share a head. */
const STEP_THREADS = 256;
const STEP_SHARES = 4;
/** Rows of the state that a thread of the one-token kernel holds, at least. */
const STEP = tunable('gated_delta/step', [{ ROWS: 8 }, { ROWS: 4 }, { ROWS: 16 }]);

/** `gatedDelta` and the gated norm after it; for one token a single kernel does both but for the norm's factors. */
export function gatedDeltaNorm(
  y: Tensor,
  gates: GateColumns,
  A_log: Tensor,
  dt_bias: Tensor,
  state: Tensor,
  shape: DeltaShape,
  norm: OutputNorm,
): GatedDeltaResult {
  const { device } = y;
  const { valueHeads, valueDim, keyHeads, keyDim } = shape;
  const tokens = y.dim(0);
  const quads = Math.ceil(valueDim / 4 / STEP_SHARES);
  if (tokens > 1 || valueDim % 8 !== 0 || keyDim % 4 !== 0 || quads > STEP_THREADS) {
    const normed = device.tidy(() => {
      const o = gatedDelta(y, gates, A_log, dt_bias, state, shape);
      const z = heads(gates.tensor, {
        tokens,
        heads: valueHeads,
        dim: valueDim,
        tokenStride: gates.tensor.dim(-1),
        offset: norm.z,
      });
      return gatedRmsNorm(o, norm.weight, z, norm);
    });
    return { normed };
  }
  checkOperands(y, gates, A_log, dt_bias, state, shape);
  const normed = device.tensor([1, valueHeads * valueDim]);
  const squares = device.tensor([valueHeads, STEP_SHARES]);
  const mostParts = Math.floor(STEP_THREADS / quads);
  const rows = Math.max(tileFor(device, STEP).ROWS, 4 * Math.ceil(keyDim / (4 * mostParts)));
  device.run({
    kernel: 'gated_delta/step',
    constants: {
      KEY_HEADS: keyHeads,
      VALUE_HEADS: valueHeads,
      DK: keyDim,
      DV: valueDim,
      QUADS: quads,
      PARTS: Math.ceil(keyDim / rows),
      ROWS: rows,
    },
    bindings: [y, gates.tensor, A_log, dt_bias, norm.weight, state, normed, squares],
    params: { z: norm.z, b: gates.b, a: gates.a, never: 0 },
    workgroups: [STEP_SHARES, valueHeads],
    work: () => gatedDeltaWork(1, shape),
  });
  return { normed, groups: { squares, size: valueDim, eps: norm.eps } };
}

function checkOperands(
  y: Tensor,
  gates: GateColumns,
  A_log: Tensor,
  dt_bias: Tensor,
  state: Tensor,
  shape: DeltaShape,
): void {
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const tokens = y.dim(0);
  const stride = gates.tensor.dim(-1);
  if (y.size !== tokens * (2 * keyHeads * keyDim + valueHeads * valueDim) || valueHeads % keyHeads !== 0) {
    throw new KernelError(
      `gatedDelta: y [${y.shape}] does not fit ${keyHeads} key heads of ${keyDim} and ${valueHeads} value heads of ${valueDim}`,
    );
  }
  if (state.size !== valueHeads * keyDim * valueDim || A_log.size !== valueHeads || dt_bias.size !== valueHeads) {
    throw new KernelError(
      `gatedDelta: state [${state.shape}], A_log [${A_log.shape}] or dt_bias [${dt_bias.shape}] does not fit`,
    );
  }
  if (gates.tensor.dim(0) !== tokens || Math.max(gates.a, gates.b) + valueHeads > stride) {
    throw new KernelError(
      `gatedDelta: gates at columns ${gates.b} and ${gates.a} of [${gates.tensor.shape}] for ${tokens} tokens`,
    );
  }
}

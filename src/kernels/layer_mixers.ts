import { DTYPE_BYTES, DTYPE_CODE } from '../tensor/dtype.ts';
import type { Constants } from '../tensor/shader.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { DeltaShape } from './gated_delta.ts';

/** Threads of a workgroup of layer_step's kernels. */
export const THREADS = 1024;
/** Rows of the delta rule's state that a thread holds, one for each component of a vec4. */
const STATE_ROWS = 4;
/** Keys whose scores a workgroup holds at a time are a multiple of so many. */
const BLOCK_STEP = 512;
/** Most threads that share a key, and most dims of a head, whose key and value lie where sums of products do. */
const KEY_LANES = 32;
const MOST_DIM = 512;
/** Most parts of attention's tokens, which a workgroup puts together at the same time. */
const MOST_PARTS = 32;

/** A gated delta net between its projection, columns q | k | v | z | b | a, and out_proj. */
export interface DeltaMixer {
  readonly kind: 'delta';
  readonly shape: DeltaShape;
  /** f32 [channels, taps]. */
  readonly conv1d: Tensor;
  readonly A_log: Tensor;
  readonly dt_bias: Tensor;
  /** f32 [valueDim]. */
  readonly norm: Tensor;
}

/** Gated attention between its projection, of every query head its query and its gate, then keys, then values, and out_proj. */
export interface AttentionMixer {
  readonly kind: 'attention';
  readonly shape: AttentionShape;
  /** f32 [dim]. */
  readonly q_norm: Tensor;
  readonly k_norm: Tensor;
}

/** Sizes of gated attention over a cache. */
export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  /** Pairs of a head's dims that turn by the token's position. */
  readonly half: number;
  /** Of keys and values in the cache. */
  readonly cache: 'f32' | 'f16';
}

/** What a mixer asks of the kernel that it is a part of. */
export interface MixerPlan {
  readonly kernel: string;
  /** Rows of the projection, and columns of out_proj. */
  readonly projected: number;
  readonly mixed: number;
  /** Whether heads and subgroups fit each other. */
  readonly fits: boolean;
  readonly constants: Constants;
  /** Values that every workgroup brings for out_proj. */
  readonly brought: number;
  /** Quads of each half of x's memory that it uses for itself, and bytes of workgroup memory besides. */
  readonly width: number;
  readonly bytes: number;
  /** Words that it exchanges besides the projection. */
  readonly words: (workgroups: number) => number;
  /** Whether it writes to its bindings. */
  readonly writes: readonly boolean[];
}

/** The plan of a mixer on a device with subgroups of `lanes` threads, where the layer's products need `width` quads of each half of x's memory. */
export function mixerPlan(mixer: DeltaMixer | AttentionMixer, lanes: number, width: number): MixerPlan {
  return mixer.kind === 'delta' ? deltaPlan(mixer, lanes) : attentionPlan(mixer, lanes, width);
}

function deltaPlan({ shape, conv1d }: DeltaMixer, lanes: number): MixerPlan {
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const mixed = valueHeads * valueDim;
  const quads = valueDim / 16;
  const threads = (quads * keyDim) / STATE_ROWS; // that work on a quarter of a head's columns
  const awaited = 2 * keyDim + valueDim / 2 + 2;
  return {
    kernel: 'layer_step/delta_layer',
    projected: 2 * keyHeads * keyDim + 2 * valueHeads * (valueDim + 1),
    mixed,
    fits:
      valueDim % 16 === 0 &&
      lanes % quads === 0 &&
      keyDim % STATE_ROWS === 0 &&
      threads % lanes === 0 &&
      Math.max(threads, awaited) <= THREADS,
    constants: {
      KEY_HEADS: keyHeads,
      VALUE_HEADS: valueHeads,
      DK: keyDim,
      DV: valueDim,
      TAPS: conv1d.dim(1),
      PAST: conv1d.dim(1) - 1,
      ROWS: STATE_ROWS,
    },
    brought: mixed + 4 * valueHeads,
    width: (threads / lanes) * quads,
    bytes: 16 * (threads / lanes) + 4 * awaited + 16 * valueHeads + 16,
    words: () => mixed + 4 * valueHeads,
    writes: [false, true, false, false, false, true],
  };
}

function attentionPlan({ shape }: AttentionMixer, lanes: number, width: number): MixerPlan {
  const { heads, kvHeads, dim, half, cache } = shape;
  const group = heads / kvHeads;
  const quads = Math.ceil(group / 4);
  const columns = THREADS / MOST_PARTS; // of the result that a workgroup puts together at a time
  const rowBytes = dim * DTYPE_BYTES[cache];
  const lines = Math.max(1, rowBytes / 128);
  const keyLanes = Math.min(KEY_LANES, dim / 8, lanes);
  const block = BLOCK_STEP * Math.max(1, Math.floor(width / quads / BLOCK_STEP));
  return {
    kernel: 'layer_step/attention_layer',
    projected: 2 * (heads + kvHeads) * dim,
    mixed: heads * dim,
    fits:
      Number.isInteger(group) &&
      Number.isInteger(Math.log2(dim)) &&
      dim >= Math.max(columns, lanes) &&
      dim <= MOST_DIM &&
      2 * half <= dim &&
      (group + 1) * half <= THREADS &&
      group + 2 <= THREADS / lanes &&
      lanes >= 4 &&
      MOST_PARTS % lanes === 0,
    constants: {
      HEADS: heads,
      KV_HEADS: kvHeads,
      DIM: dim,
      GROUP: group,
      QUADS: quads,
      HALF: half,
      KV_DTYPE: DTYPE_CODE[cache],
      MOST_PARTS,
      BLOCK: block,
      KEY_LANES: keyLanes,
      LINES: lines,
      LINE_QUADS: rowBytes / 16 / lines,
    },
    brought: heads * dim,
    width: Math.max(block * quads, (THREADS / 2) * quads, (group * dim) / 4, ((columns + 1) * MOST_PARTS) / 4),
    bytes: 32 * quads * (THREADS / lanes + 1) + 4 * (MOST_PARTS + columns),
    words: (workgroups) => heads * dim + partsOf(shape, workgroups) * heads * (dim + 1),
    writes: [false, false, false, false, true, true],
  };
}

/**
 * Parts into which a team deals the tokens, the token itself being one of them. Three at least, so that a team of one, which tests have, does all there is to do.
 */
export function partsOf({ kvHeads }: AttentionShape, workgroups: number): number {
  return Math.min(MOST_PARTS, Math.max(3, Math.floor(workgroups / kvHeads)));
}

import { type Device, grid } from '../tensor/device.ts';
import { DTYPE_BYTES, DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Constants } from '../tensor/shader.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Tile } from '../tensor/tiles.ts';
import type { Work } from '../tensor/work.ts';
import { decode, GROUP_DIMS } from './attention_decode.ts';
import { type OperandDtype, toBlocks } from './blocks.ts';
import { sigmoidGate } from './elementwise.ts';
import { areWhole, type Heads } from './heads.ts';
import { tileFor, tunable } from './tuning.ts';

/** How to attend. */
export interface AttentionOptions {
  /** Factor on the scores; 1/sqrt(dim) unless given. */
  readonly scale?: number;
  /** Query t sees keys up to t + (key tokens - query tokens): earlier keys come from a cache. */
  readonly causal?: boolean;
  /** The tokens fall into this many equal segments that do not see each other (pictures, frames). */
  readonly segments?: number;
  /** f32, [T, heads, dim]: the result is multiplied by its sigmoid. */
  readonly gate?: Heads;
  /** Dtype of the result; [T, heads * dim] in f16_blocks. */
  readonly dtype?: OperandDtype;
  /** Takes this variant instead of the one chosen by size: for tests, benchmarks and `--no-flash-attn2`. */
  readonly variant?: AttentionVariant;
  /** For one query: it sees as many keys as this cursor says were seen (kernels/cursor.ts), and one more; k and v then hold at least those. */
  readonly cursor?: Tensor | undefined;
}

/** The rungs of the ladder; `decode` is the one for a single query. */
export const ATTENTION_VARIANTS = ['naive', 'flash', 'flash_register', 'flash_matrix', 'decode'] as const;
export type AttentionVariant = (typeof ATTENTION_VARIANTS)[number];

/**
 * Tiles of the two kernels on matrices, and which of the two. `flash_matrix`: subgroups of 32 queries; 32 keys a round halve the barriers, while two workgroups
 * still fit on a processor. `flash_matrix_pair`, those with PAIRS: two subgroups share 32 queries of heads that are too wide for the registers of one.
 */
const MATRIX_TILES = tunable<Tile>('attention/flash_matrix', [
  { KEYS: 32, SUBGROUPS: 4 },
  { KEYS: 32, SUBGROUPS: 8 },
  { KEYS: 16, SUBGROUPS: 4 },
  { KEYS: 16, SUBGROUPS: 2 },
  { PAIRS: 2 },
]);
const PAIR_TILES = tunable<Tile>('attention/flash_matrix_pair', [{ PAIRS: 4 }, { PAIRS: 2 }, { PAIRS: 1 }]);
/** For heads between those. On an H200, 32 keys are better up to 72 dims (150 instead of 113 TFLOP/s), 16 from 96 on (233 instead of 179). */
const MIDDLE_TILES: readonly [Tile, ...Tile[]] = [
  { KEYS: 16, SUBGROUPS: 4 },
  { KEYS: 16, SUBGROUPS: 2 },
];
const NARROW_HEAD = 80;
const MIDDLE_HEAD = 128;
/** Bytes of workgroup memory for a query's scores, 16 f32 and padding, and for its probabilities, 16 f16 and padding. */
const SCORE_ROW = 96;
const WEIGHT_ROW = 48;

/** A kernel on matrices for heads of so many dims, how it is cut, the queries of a workgroup and its bytes of memory. */
function matrixCut(dim: number, tile: Tile): { kernel: string; constants: Constants; queries: number; bytes: number } {
  const { KEYS = 16, SUBGROUPS = 1, PAIRS } = tile;
  if (PAIRS !== undefined) {
    const half = Math.ceil(dim / 32);
    return {
      kernel: 'attention/flash_matrix_pair',
      constants: { ...tile, HALF: half, LOADS: Math.ceil(half / PAIRS) },
      queries: 32 * PAIRS,
      bytes: 4 + 2 * 16 * (64 * half + 16) + 32 * PAIRS * (2 * SCORE_ROW + WEIGHT_ROW),
    };
  }
  const matrices = Math.ceil(dim / 16);
  return {
    kernel: 'attention/flash_matrix',
    constants: { ...tile, DIM_MATRICES: matrices, LOADS: Math.ceil((KEYS * matrices) / (16 * SUBGROUPS)) },
    queries: 32 * SUBGROUPS,
    bytes: 4 + 2 * KEYS * (32 * matrices + 16) + 32 * SUBGROUPS * SCORE_ROW,
  };
}

/** The kernel on matrices with the chosen tile, or the first that fits into the device's workgroup memory. */
function matrixKernel(device: Device, dim: number): ReturnType<typeof matrixCut> {
  const isMiddle = dim > NARROW_HEAD && dim <= MIDDLE_HEAD;
  const tuned = dim <= NARROW_HEAD ? MATRIX_TILES : PAIR_TILES;
  const chosen = matrixCut(dim, isMiddle ? MIDDLE_TILES[0] : tileFor(device, tuned));
  const candidates = isMiddle ? MIDDLE_TILES : tuned.candidates;
  const fits = ({ bytes }: { bytes: number }) => bytes <= device.limits.maxComputeWorkgroupStorageSize;
  return fits(chosen) ? chosen : (candidates.map((tile) => matrixCut(dim, tile)).find(fits) ?? chosen);
}

/** Whether a variant can do this. */
export function attentionSupports(variant: AttentionVariant, q: Heads, k: Heads, v: Heads): boolean {
  if (variant === 'naive' || variant === 'flash') return true;
  const isAligned = areWhole(variant === 'flash_register' ? 4 : 8, q, k, v);
  if (variant === 'flash_register') return isAligned && q.dim <= 256;
  if (variant === 'decode') return isAligned && q.tokens === 1 && q.dim <= GROUP_DIMS;
  const isHalf = [q, k, v].every(({ tensor }) => tensor.dtype === 'f16');
  return isAligned && isHalf && q.dim <= 256 && q.tensor.device.multipliesMatrices;
}

/** The variant for these operands. */
function chooseVariant(q: Heads, k: Heads, v: Heads): AttentionVariant {
  const order = ['decode', 'flash_matrix', 'flash_register'] as const;
  const found = order.find((variant) => attentionSupports(variant, q, k, v)) ?? 'flash';
  // A CPU takes longer to compile what is written out than it saves.
  return found === 'flash_register' && q.tensor.device.opened.isSoftware ? 'flash' : found;
}

/** What attention cannot do without: two products over the pairs that see each other; queries, keys, values and result once. */
export function attentionWork(
  q: Heads,
  k: Heads,
  { causal = false, segments = 1, dtype = 'f32' }: AttentionOptions,
): Work {
  const [queries, keys] = [q.tokens / segments, k.tokens / segments];
  const pairs = segments * queries * (causal ? keys - (queries - 1) / 2 : keys);
  const values = [q.tokens * q.heads * q.dim, 2 * k.tokens * k.heads * k.dim] as const;
  const [qBytes, kBytes] = [DTYPE_BYTES[q.tensor.dtype], DTYPE_BYTES[k.tensor.dtype]];
  return { flops: 4 * pairs * q.heads * q.dim, bytes: values[0] * (qBytes + DTYPE_BYTES[dtype]) + values[1] * kBytes };
}

/** Scores that the naive variant keeps at a time. */
const NAIVE_SCORE_BYTES = 64 * 1024 * 1024;

/**
 * Softmax attention with grouped keys: query head h reads key/value head floor(h / (heads / kv_heads)).
 * @param q views of f32 or f16, [T, heads, dim]
 * @param k [S, kv_heads, dim], v alike, of one dtype
 * @returns [T, heads * dim]
 */
export function attention(q: Heads, k: Heads, v: Heads, options: AttentionOptions = {}): Tensor {
  const { scale = 1 / Math.sqrt(q.dim), causal = false, segments = 1, dtype = 'f32' } = options;
  const variant = options.cursor !== undefined ? 'decode' : (options.variant ?? chooseVariant(q, k, v));
  const device = q.tensor.device;
  const laterGate = variant === 'decode' ? undefined : options.gate;
  if (dtype === 'f16_blocks' && variant !== 'flash_matrix' && laterGate === undefined)
    return device.tidy(() => toBlocks(attention(q, k, v, { ...options, variant, dtype: 'f16' })));
  if (laterGate !== undefined) {
    const { gate: _, dtype: __, ...rest } = options;
    return device.tidy(() =>
      sigmoidGate(attention(q, k, v, { ...rest, variant }).reshape(q.tokens, q.heads, q.dim), laterGate, dtype),
    );
  }
  const queryTokens = q.tokens / segments;
  const keyTokens = k.tokens / segments;
  const described = () =>
    `attention: q ${q.tokens}x${q.heads}x${q.dim}, k ${k.tokens}x${k.heads}x${k.dim}, v ${v.tokens}x${v.heads}x${v.dim}`;
  if (k.dim !== q.dim || v.dim !== q.dim || k.heads !== v.heads || k.tokens !== v.tokens || q.heads % k.heads !== 0) {
    throw new KernelError(`${described()} do not fit`);
  }
  if (q.dim % 2 !== 0 || q.dim > 512)
    throw new KernelError(`${described()}: the head size must be even and at most 512`);
  if (!(scale >= 0)) throw new KernelError(`${described()}: the scale must not be negative, found ${scale}`);
  if (!Number.isInteger(queryTokens) || !Number.isInteger(keyTokens))
    throw new KernelError(`${described()} in ${segments} segments`);
  if (causal && keyTokens < queryTokens)
    throw new KernelError(`${described()}: causal attention needs a key for every query`);
  const qDtype = q.tensor.dtype;
  const kvDtype = k.tensor.dtype;
  if (!(qDtype in DTYPE_CODE) || !(kvDtype in DTYPE_CODE) || v.tensor.dtype !== kvDtype) {
    throw new KernelError(`${described()} of dtypes ${qDtype}, ${kvDtype}, ${v.tensor.dtype}`);
  }

  if (!attentionSupports(variant, q, k, v)) throw new KernelError(`${described()}: variant ${variant} cannot do this`);
  if (kvDtype !== 'f32' && !areWhole(2, k, v))
    throw new KernelError(`${described()}: 16-bit keys and values need even offsets and strides`);

  const out = device.tensor([q.tokens, q.heads * q.dim], dtype);
  const common = {
    constants: {
      DIM: q.dim,
      CAUSAL: causal,
      Q_DTYPE: DTYPE_CODE[qDtype as 'f32' | 'f16'],
      KV_DTYPE: DTYPE_CODE[kvDtype as 'f32' | 'f16'],
      OUT_F16: dtype === 'f16',
    },
    params: {
      query_tokens: queryTokens,
      key_tokens: keyTokens,
      heads: q.heads,
      kv_heads: k.heads,
      q_offset: q.offset,
      q_token: q.tokenStride,
      q_head: q.headStride,
      k_offset: k.offset,
      k_token: k.tokenStride,
      k_head: k.headStride,
      v_offset: v.offset,
      v_token: v.tokenStride,
      v_head: v.headStride,
      scale,
      first: 0,
      count: q.tokens,
    },
  };
  const operands = [q.tensor, k.tensor, v.tensor];
  const work = () => attentionWork(q, k, { causal, segments, dtype });
  // `tile_and_head` in wgsl/attention/params.wgsl.
  const tilesOf = (queries: number) => {
    const tiles = Math.ceil(queryTokens / queries);
    return causal ? [q.heads, tiles, segments] : [tiles, q.heads, segments];
  };
  if (variant === 'flash') {
    device.run({ kernel: 'attention/flash', ...common, bindings: [...operands, out], workgroups: tilesOf(32), work });
    return out;
  }

  if (variant === 'flash_register') {
    const outQuads = 2 ** Math.max(0, Math.ceil(Math.log2(q.dim / 32))); // quads of dims that a thread puts out, whole powers of two
    device.run({
      kernel: 'attention/flash_register',
      constants: { ...common.constants, OUT_QUADS: outQuads, V_KEYS: 32 / outQuads },
      bindings: [...operands, out],
      params: { ...common.params, count: 0 },
      workgroups: tilesOf(64),
      work,
    });
    return out;
  }

  if (variant === 'decode') {
    const { constants, params } = common;
    decode(out, { q, k, constants, params, operands, work, cursor: options.cursor, gate: options.gate });
    return out;
  }

  if (variant === 'flash_matrix') {
    const { kernel, constants, queries } = matrixKernel(device, q.dim);
    device.run({
      kernel,
      constants: {
        ...constants,
        DIM: q.dim,
        CAUSAL: causal,
        OUT_F16: dtype !== 'f32',
        OUT_BLOCKS: dtype === 'f16_blocks',
      },
      bindings: [...operands, out],
      params: { ...common.params, count: 0 },
      workgroups: tilesOf(queries),
      work,
    });
    return out;
  }

  const rowScores = q.heads * keyTokens;
  const rowsAtOnce = Math.max(1, Math.floor(NAIVE_SCORE_BYTES / 4 / rowScores));
  device.tidy(() => {
    for (let first = 0; first < q.tokens; first += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, q.tokens - first);
      const scores = device.tensor([count, q.heads, keyTokens]);
      const params = { ...common.params, first, count };
      device.run({
        kernel: 'attention/naive_scores',
        constants: common.constants,
        params,
        bindings: [...operands, scores],
        workgroups: grid(Math.ceil(scores.size / 64)),
        work: () => ({ flops: 2 * scores.size * q.dim }),
      });
      device.run({
        kernel: 'attention/naive_softmax',
        params: { rows: count * q.heads, width: keyTokens },
        bindings: [scores],
        workgroups: grid(count * q.heads),
        work: () => ({ flops: 5 * scores.size, bytes: 2 * scores.byteLength }),
      });
      device.run({
        kernel: 'attention/naive_output',
        constants: common.constants,
        params,
        bindings: [...operands, scores, out],
        workgroups: grid(Math.ceil((count * q.heads * q.dim) / 128)),
        work: () => ({ flops: 2 * scores.size * q.dim }),
      });
    }
  });
  return out;
}

import type { Tensor } from '../tensor/tensor.ts';
import { bytesOf, type Work } from '../tensor/work.ts';
import type { DeltaShape, GateColumns } from './gated_delta.ts';

/** Tokens of a chunk. */
const CHUNK = 64;
/** Columns of a head's state that one workgroup carries from chunk to chunk. */
const COLUMNS = 32;
/** Chunks times heads of a segment: bounds the states and products that wait in memory between the steps to about 300 MB, 200 in the form on matrices. */
const SEGMENT = 2112;

/** What both chunked forms work on. */
interface ChunkedOperands {
  readonly y: Tensor;
  readonly state: Tensor;
  readonly shape: DeltaShape;
  /** Chunks of a segment instead of as many as SEGMENT allows. */
  readonly segmentChunks: number | undefined;
}

/** Some of the chunks, and what their steps cannot do without. */
interface Segment {
  /** Its first chunk. */
  readonly first: number;
  readonly chunks: number;
  /**
   * Work of a step: `flops` a token and value head, each of the segment's own tensors once, and its rows of the tensors that hold all tokens.
   */
  readonly work: (flops: number, own: readonly Tensor[], all: readonly Tensor[]) => () => Work;
}

/** Calls `body` for the segments that the chunks fall into, whose temporary tensors take each other's place. */
function forEachSegment(operands: ChunkedOperands, body: (segment: Segment) => void): void {
  const { y, segmentChunks } = operands;
  const { valueHeads } = operands.shape;
  const tokens = y.dim(0);
  const all = Math.ceil(tokens / CHUNK);
  const most = segmentChunks ?? evenly(all, Math.max(1, Math.floor(SEGMENT / valueHeads)));
  for (let first = 0; first < all; first += most) {
    const chunks = Math.min(most, all - first);
    const rows = Math.min(chunks * CHUNK, tokens - first * CHUNK);
    const work: Segment['work'] = (flops, own, whole) => () => ({
      flops: flops * rows * valueHeads,
      bytes: bytesOf(own) + Math.round((bytesOf(whole) * rows) / tokens),
    });
    y.device.tidy(() => body({ first, chunks, work }));
  }
}

/** Chunks of a segment such that none has more than `most` and the last one is no small remainder: each segment's steps have to fill the GPU anew. */
function evenly(chunks: number, most: number): number {
  return Math.ceil(chunks / Math.ceil(chunks / most));
}

/** Operations of the three steps a token and value head; T and M are triangles, so that their products count half. */
function stepFlops({ keyDim, valueDim }: DeltaShape) {
  return {
    local: CHUNK * (3 * keyDim + valueDim),
    scan: 4 * keyDim * valueDim,
    output: 2 * keyDim * valueDim + CHUNK * valueDim,
  };
}

function shapeConstants({ keyHeads, valueHeads, keyDim, valueDim }: DeltaShape) {
  return { KEY_HEADS: keyHeads, VALUE_HEADS: valueHeads, DK: keyDim, DV: valueDim };
}

/**
 * The chunked form in f32: what chunks can compute alone, the state from chunk to chunk, and the outputs (spec qwen3_5_text.md 6.5).
 * @param qk, gates as wgsl/gated_delta/prepare.wgsl leaves them
 * @returns f32 [T, valueHeads, valueDim]
 */
export function chunkedDelta(qk: Tensor, gates: Tensor, operands: ChunkedOperands): Tensor {
  const { y, state, shape } = operands;
  const { valueHeads, keyDim, valueDim } = shape;
  const { device } = y;
  const tokens = y.dim(0);
  const constants = shapeConstants(shape);
  const flops = stepFlops(shape);
  const o = device.tensor([tokens, valueHeads, valueDim]);
  forEachSegment(operands, ({ first, chunks, work }) => {
    const uv = device.tensor([chunks, valueHeads, CHUNK, valueDim]);
    const w = device.tensor([chunks, valueHeads, keyDim, CHUNK]);
    const m = device.tensor([chunks, valueHeads, CHUNK, CHUNK]);
    const sums = device.tensor([chunks, valueHeads, CHUNK]);
    const states = device.tensor([chunks, valueHeads, keyDim, valueDim]);
    device.run({
      kernel: 'gated_delta/chunk_local',
      constants,
      bindings: [qk, y, gates, uv, w, m, sums],
      params: { tokens, first },
      workgroups: [chunks, valueHeads],
      work: work(flops.local, [uv, w, m, sums], [qk, y, gates]),
    });
    device.run({
      kernel: 'gated_delta/chunk_scan',
      constants,
      bindings: [qk, uv, w, sums, state, states],
      params: { tokens, first, chunks, zero: 0 },
      workgroups: [Math.ceil(valueDim / COLUMNS), valueHeads],
      work: work(flops.scan, [uv, w, sums, state, states], [qk]),
    });
    device.run({
      kernel: 'gated_delta/chunk_output',
      constants,
      bindings: [qk, uv, m, sums, states, o],
      params: { tokens, first },
      workgroups: [chunks, valueHeads],
      work: work(flops.output, [uv, m, sums, states], [qk, o]),
    });
  });
  return o;
}

/** Head size that the form on subgroup matrices is written for. */
export const MATRIX_DIM = 128;
/** Subgroup size that it is written for. */
export const MATRIX_SUBGROUP = 32;
/** From this many value heads on, workgroups of the scan take 32 columns instead of 16 and still fill a large GPU. */
const WIDE_FROM = 24;

/**
 * The chunked form on subgroup matrices: f16 operands, f32 sums and state.
 * @returns f32 [T, valueHeads, valueDim]
 */
export function chunkedDeltaOnMatrices(
  gates: GateColumns,
  A_log: Tensor,
  dt_bias: Tensor,
  operands: ChunkedOperands,
): Tensor {
  const { y, state, shape } = operands;
  const { keyHeads, valueHeads } = shape;
  const { device } = y;
  const tokens = y.dim(0);
  const { DK: _, DV: __, ...constants } = shapeConstants(shape);
  const columnTiles = valueHeads >= WIDE_FROM ? 2 : 1;
  const flops = stepFlops(shape);
  // Results are stored as whole matrices: the rows beyond the last token are the price.
  const o = device.tensor([Math.ceil(tokens / CHUNK) * CHUNK, valueHeads, MATRIX_DIM]);
  forEachSegment(operands, ({ first, chunks, work }) => {
    const q = device.tensor([chunks * CHUNK, keyHeads, MATRIX_DIM], 'f16');
    const k = device.tensor([chunks * CHUNK, keyHeads, MATRIX_DIM], 'f16');
    const kt = device.tensor([chunks, keyHeads, MATRIX_DIM, CHUNK], 'f16');
    const gate = device.tensor([chunks * CHUNK, valueHeads, 2]);
    const uv = device.tensor([chunks, valueHeads, CHUNK, MATRIX_DIM], 'f16');
    const w = device.tensor([chunks, valueHeads, CHUNK, MATRIX_DIM], 'f16');
    const m = device.tensor([chunks, valueHeads, CHUNK, CHUNK], 'f16');
    const scales = device.tensor([chunks, valueHeads, 2, CHUNK]);
    const states = device.tensor([chunks, valueHeads, MATRIX_DIM, MATRIX_DIM], 'f16');
    device.run({
      kernel: 'gated_delta/matrix_prepare',
      constants,
      bindings: [y, gates.tensor, A_log, dt_bias, q, k, kt, gate],
      params: { tokens, first, stride: gates.tensor.dim(-1), b: gates.b, a: gates.a },
      workgroups: [chunks * (CHUNK / 16), keyHeads],
      work: work(0, [q, k, kt, gate], [y]),
    });
    device.run({
      kernel: 'gated_delta/matrix_local',
      constants,
      bindings: [q, k, y, gate, uv, w, m, scales],
      params: { tokens, first, zero: 0 },
      workgroups: [chunks, valueHeads],
      work: work(flops.local, [q, k, gate, uv, w, m, scales], [y]),
    });
    device.run({
      kernel: 'gated_delta/matrix_scan',
      constants: { ...constants, TILES: columnTiles },
      bindings: [w, kt, uv, scales, state, states],
      params: { chunks, zero: 0 },
      workgroups: [MATRIX_DIM / (16 * columnTiles), valueHeads],
      work: work(flops.scan, [w, kt, uv, scales, state, states], []),
    });
    device.run({
      kernel: 'gated_delta/matrix_output',
      constants,
      bindings: [q, uv, m, scales, states, o],
      params: { first },
      workgroups: [chunks, valueHeads],
      work: work(flops.output, [q, uv, m, scales, states], [o]),
    });
  });
  return o.rows(0, tokens);
}

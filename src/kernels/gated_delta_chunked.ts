import type { Tensor } from '../tensor/tensor.ts';
import type { DeltaShape } from './gated_delta.ts';

/** Tokens of a chunk. */
const CHUNK = 64;
/** Columns of a head's state that one workgroup carries from chunk to chunk. */
const COLUMNS = 32;
/** Bound on the states kept between the steps: the tokens fall into segments of as many chunks as fit. */
const STATE_BYTES = 128 * 2 ** 20;

/** Calls `body` for each segment: as many chunks as may keep `chunkBytes` of states each. */
function forEachSegment(tokens: number, chunkBytes: number, body: (first: number, chunks: number) => void): void {
  const all = Math.ceil(tokens / CHUNK);
  const most = Math.max(1, Math.floor(STATE_BYTES / chunkBytes));
  for (let first = 0; first < all; first += most) body(first, Math.min(most, all - first));
}

/**
 * The chunked form in f32: what chunks can compute alone, the state from chunk to chunk, and the outputs (spec qwen3_5_text.md 6.5).
 * @param qk, gates as wgsl/gated_delta/prepare.wgsl leaves them
 * @param o f32 [T, valueHeads, valueDim], filled here
 */
export function chunkedDelta(
  { qk, y, gates, state, o }: Record<'qk' | 'y' | 'gates' | 'state' | 'o', Tensor>,
  { keyHeads, valueHeads, keyDim, valueDim }: DeltaShape,
): void {
  const device = y.device;
  const tokens = y.dim(0);
  const constants = { KEY_HEADS: keyHeads, VALUE_HEADS: valueHeads, DK: keyDim, DV: valueDim };
  forEachSegment(tokens, 4 * valueHeads * keyDim * valueDim, (first, chunks) => {
    device.tidy(() => {
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
      });
      device.run({
        kernel: 'gated_delta/chunk_scan',
        constants,
        bindings: [qk, uv, w, sums, state, states],
        params: { tokens, first, chunks, zero: 0 },
        workgroups: [Math.ceil(valueDim / COLUMNS), valueHeads],
      });
      device.run({
        kernel: 'gated_delta/chunk_output',
        constants,
        bindings: [qk, uv, m, sums, states, o],
        params: { tokens, first },
        workgroups: [chunks, valueHeads],
      });
    });
  });
}

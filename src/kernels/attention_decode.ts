import { KernelError } from '../tensor/errors.ts';
import type { Params } from '../tensor/pipeline.ts';
import type { Constants } from '../tensor/shader.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Work } from '../tensor/work.ts';
import { expectDtype } from './checks.ts';
import type { Heads } from './heads.ts';
import { tileFor, tunable } from './tuning.ts';

/** Keys that one workgroup of the decode variant attends to: enough splits to fill the GPU, few enough to join quickly. */
const CHUNK = 64;
const LONG_CHUNK = tunable('attention/decode long', [{ CHUNK: 256 }, { CHUNK: 128 }]);
const SPLITS = 256;

/** Query heads that one workgroup of the decode variant takes at most, and values that a thread has in flight; a CPU compiles less of both sooner. */
const TILE = tunable(
  'attention/decode',
  [
    { GROUP: 1, VALUES: 8 },
    { GROUP: 8, VALUES: 8 },
    { GROUP: 4, VALUES: 4 },
  ],
  { GROUP: 1, VALUES: 1 },
);
/** Dims of all query heads of a workgroup, which its memory bounds. */
const GROUP_DIMS = 2048;
/** Its threads that share a key. */
const LANES = 8;
/** Dims of a head that one workgroup of the join takes. */
const MERGED_DIMS = 128;

/** Attention of one query, as `attention` describes it. */
export interface DecodeTask {
  readonly q: Heads;
  /** As many tokens as the query may see. */
  readonly k: Heads;
  /** Of wgsl/attention/params.wgsl. */
  readonly constants: Constants;
  readonly params: Params;
  /** The tensors of q, k and v. */
  readonly operands: readonly Tensor[];
  /** Prepares query, key and value on the way (decode_step.wgsl). */
  readonly step?: { readonly constants: Constants; readonly bindings: readonly Tensor[] };
  readonly work: () => Work;
  readonly cursor: Tensor | undefined;
  readonly gate: Heads | undefined;
}

/** Records attention of one query into `out`, [1, heads * dim]: the splits, then their join. */
export function decode(out: Tensor, task: DecodeTask): void {
  const { q, k, constants, params, operands, step, work, cursor, gate } = task;
  const { device } = out;
  if (gate !== undefined) {
    expectDtype('attention', 'the gate', gate.tensor, 'f32');
    if (gate.tokens !== 1 || gate.heads !== q.heads || gate.dim !== q.dim)
      throw new KernelError(`attention: a gate ${gate.tokens}x${gate.heads}x${gate.dim} for q 1x${q.heads}x${q.dim}`);
  }
  const chunk = k.tokens <= CHUNK * SPLITS ? CHUNK : tileFor(device, LONG_CHUNK).CHUNK;
  const splits = Math.ceil(k.tokens / chunk);
  const shared = q.heads / k.heads;
  const tile = tileFor(device, TILE);
  // Where a step stores keys, one workgroup for all queries of a key head does it.
  let group = Math.min(shared, step === undefined ? tile.GROUP : shared, Math.floor(GROUP_DIMS / q.dim));
  while (shared % group !== 0) group -= 1;
  device.tidy(() => {
    const partial = device.tensor([splits, q.heads, q.dim + 2]);
    const atCursor = { AT_CURSOR: cursor !== undefined, CHUNK: chunk };
    device.run({
      kernel: step === undefined ? 'attention/decode_split' : 'attention/decode_step',
      constants: {
        ...constants,
        ...atCursor,
        ...step?.constants,
        GROUP: group,
        VALUES: tile.VALUES,
        LANE_PIECES: Math.ceil(q.dim / 8 / LANES),
      },
      bindings: [...operands, partial, cursor ?? q.tensor, ...(step?.bindings ?? [])],
      params: { ...params, count: splits },
      workgroups: [splits, q.heads / group],
      work,
    });
    device.run({
      kernel: 'attention/decode_merge',
      constants: { ...atCursor, DIM: q.dim, OUT_F16: out.dtype === 'f16', GATED: gate !== undefined },
      bindings: [partial, out, cursor ?? partial, gate?.tensor ?? partial],
      params: { heads: q.heads, splits, gate_offset: gate?.offset ?? 0, gate_head: gate?.headStride ?? 0 },
      workgroups: [q.heads, Math.ceil(q.dim / MERGED_DIMS)],
    });
  });
}

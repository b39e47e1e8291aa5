import type { Device } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Params } from '../tensor/pipeline.ts';
import type { Constants } from '../tensor/shader.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Work } from '../tensor/work.ts';
import { expectDtype } from './checks.ts';
import type { Heads } from './heads.ts';
import { tileFor, tunable } from './tuning.ts';

/** Keys that one workgroup attends to without subgroups: enough splits to fill the GPU, few enough to join quickly. */
const CHUNK = 64;
const LONG_CHUNK = tunable('attention/decode long', [{ CHUNK: 512 }, { CHUNK: 256 }, { CHUNK: 128 }]);
const SPLITS = 256;

/** Query heads that one workgroup takes at most without subgroups, and values that a thread has in flight; a CPU compiles less of both sooner. */
const TILE = tunable(
  'attention/decode',
  [
    { GROUP: 1, VALUES: 4 },
    { GROUP: 8, VALUES: 4 },
    { GROUP: 4, VALUES: 4 },
    { GROUP: 1, VALUES: 8 },
  ],
  { GROUP: 1, VALUES: 1 },
);
/** Dims of all query heads of a workgroup, which its memory bounds, and so of a head. */
export const GROUP_DIMS = 2048;
/** Its threads that share a key. */
const LANES = 8;

/** With subgroups: workgroups among which the keys are dealt, and keys that a team of threads has in flight. An H200 runs 264 at a time. */
const SUBGROUPS_TILE = tunable('attention/decode subgroups', [
  { WORKGROUPS: 264, BATCH: 2 },
  { WORKGROUPS: 132, BATCH: 4 },
  { WORKGROUPS: 528, BATCH: 2 },
  { WORKGROUPS: 16, BATCH: 4 },
]);
/** Keys of a split are a multiple of so many. */
const CHUNK_STEP = 32;
/** Query heads whose queries and outputs a thread has registers for. */
const MOST_GROUP = 8;

/** Dims of a head that one workgroup of the join takes. */
const MERGED_DIMS = 32;

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
  const lanes = 2 ** Math.ceil(Math.log2(q.dim / 8));
  const split = step !== undefined && shuffles(device, lanes) ? subgroupsSplit(task, lanes) : memorySplit(task);
  const { chunk, group } = split;
  const splits = Math.ceil(k.tokens / chunk);
  device.tidy(() => {
    const partial = device.tensor([splits, q.heads, q.dim + 2]);
    const atCursor = { AT_CURSOR: cursor !== undefined };
    device.run({
      kernel: split.kernel,
      constants: { ...constants, ...atCursor, ...step?.constants, ...split.constants, GROUP: group },
      bindings: [...operands, partial, cursor ?? q.tensor, ...(step?.bindings ?? [])],
      params: { ...params, count: chunk },
      workgroups: [splits, q.heads / group],
      work,
    });
    device.run({
      kernel: 'attention/decode_merge',
      constants: { ...atCursor, DIM: q.dim, OUT_F16: out.dtype === 'f16', GATED: gate !== undefined },
      bindings: [partial, out, cursor ?? partial, gate?.tensor ?? partial],
      params: { heads: q.heads, splits, chunk, gate_offset: gate?.offset ?? 0, gate_head: gate?.headStride ?? 0 },
      workgroups: [q.heads, Math.ceil(q.dim / MERGED_DIMS)],
    });
  });
}

/** How step 1 is done: its kernel, keys of a split and query heads of a workgroup. */
interface Split {
  readonly kernel: string;
  readonly constants: Constants;
  readonly chunk: number;
  readonly group: number;
}

/** Whether a key's threads lie in one subgroup. */
function shuffles(device: Device, lanes: number): boolean {
  return device.has('subgroups') && device.opened.subgroupMinSize >= lanes;
}

function subgroupsSplit({ q, k }: DecodeTask, lanes: number): Split {
  const { WORKGROUPS, BATCH } = tileFor(q.tensor.device, SUBGROUPS_TILE);
  return {
    kernel: 'attention/decode_step_subgroups',
    constants: { LANES: lanes, BATCH },
    chunk: Math.ceil((k.tokens * k.heads) / WORKGROUPS / CHUNK_STEP) * CHUNK_STEP,
    group: largestGroup(q.heads / k.heads, Math.min(MOST_GROUP, Math.floor(GROUP_DIMS / q.dim))),
  };
}

function memorySplit({ q, k, step }: DecodeTask): Split {
  const { device } = q.tensor;
  const { GROUP, VALUES } = tileFor(device, TILE);
  const wanted = {
    chunk: k.tokens <= CHUNK * SPLITS ? CHUNK : tileFor(device, LONG_CHUNK).CHUNK,
    // Where a step stores keys, one workgroup for all queries of a key head does it, if it can.
    most: Math.min(step === undefined ? GROUP : Number.POSITIVE_INFINITY, Math.floor(GROUP_DIMS / q.dim)),
  };
  const { chunk, group } = fitted(q.heads / k.heads, q.dim, wanted, device.limits.maxComputeWorkgroupStorageSize);
  return {
    kernel: step === undefined ? 'attention/decode_split' : 'attention/decode_step',
    constants: { CHUNK: chunk, VALUES, LANE_PIECES: Math.ceil(q.dim / 8 / LANES) },
    chunk,
    group,
  };
}

/** The largest divisor of the query heads of a key head that is no more than `most`. */
function largestGroup(shared: number, most: number): number {
  let group = Math.min(shared, most);
  while (shared % group !== 0) group -= 1;
  return group;
}

/** As many of the wanted keys of a split, then query heads, as the memory of a workgroup of decode_body.wgsl has room for. */
export function fitted(
  shared: number,
  dim: number,
  wanted: { readonly chunk: number; readonly most: number },
  limit: number,
): { chunk: number; group: number } {
  let { chunk } = wanted;
  let group = largestGroup(shared, wanted.most);
  while (workgroupBytes(dim, group, chunk) > limit && chunk > CHUNK) chunk /= 2;
  while (workgroupBytes(dim, group, chunk) > limit && group > 1) group = largestGroup(shared, group - 1);
  return { chunk, group };
}

/** Memory of a workgroup of decode_body.wgsl: queries, scores, what was found of each head, and sums. */
function workgroupBytes(dim: number, group: number, chunk: number): number {
  const [threads, seekers, pieces] = [256, 16, dim / 8];
  const outputs = Math.floor(threads / pieces) * 8 * (pieces + Math.min(4, Math.floor(pieces / 8)));
  const sums = Math.max(threads * group, outputs, (group + 1) * dim);
  return 4 * (group * (dim + chunk) + (group + 1) * (seekers + 1) + sums);
}

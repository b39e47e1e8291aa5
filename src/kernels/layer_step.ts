import type { Device } from '../tensor/device.ts';
import { DTYPE_BYTES, DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Params } from '../tensor/pipeline.ts';
import type { Constants } from '../tensor/shader.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { bytesOf } from '../tensor/work.ts';
import { gatedDeltaWork } from './gated_delta.ts';
import type { Rope } from './head_norm_rope.ts';
import { type AttentionMixer, type DeltaMixer, mixerPlan, partsOf, THREADS } from './layer_mixers.ts';
import type { InputNorm } from './matmul.ts';

/** A mixer's weights, as one token takes them. All matrices of a layer have one dtype, bf16 or f16. */
export interface MixerStep<Mixer extends DeltaMixer | AttentionMixer> {
  /** [projected, hidden]: rows as the mixer takes them. */
  readonly in_proj: Tensor;
  readonly mixer: Mixer;
  /** Of the norms of the mixer's heads, whose weights count from 0 in a delta net, in attention as those of the layer's norms do. */
  readonly headEps: number;
  /** [hidden, mixed]. */
  readonly out_proj: Tensor;
}

/** A decoder layer's weights, as one token takes them. */
export interface LayerStep<Mixer extends DeltaMixer | AttentionMixer = DeltaMixer | AttentionMixer>
  extends MixerStep<Mixer> {
  /** Of the layer's input; of the same eps and weightOffset as `norm`. */
  readonly inNorm: InputNorm;
  /** Of the sum that the MLP reads. */
  readonly norm: InputNorm;
  /** [2 * inner, hidden], gate rows first. */
  readonly gate_up: Tensor;
  /** [hidden, inner]. */
  readonly down: Tensor;
}

/** The workgroups that share a dispatch. */
export interface Team {
  /** At most as many as run at the same time: `musterTeam`. */
  readonly workgroups: number;
  /** Zeros through which they exchange values, used up: of `createExchange`. */
  readonly exchange: Tensor;
  /** Looks at a value before giving up and going on with NaN; a tenth of a second's unless given: for tests. */
  readonly patience?: number;
}

/** Most 16-byte pieces of a row that a thread has on their way twice: of 2 to 10, with 512 and with 1024 threads, up to 5 with 1024 were fastest (H200). */
const MOST_PIECES = 5;
/** Sums of a workgroup's products that its memory holds. */
const MOST_SUMS = 1280;
/** Looks at a word before giving up, of some 0.7 microseconds: values are late by a few of these where all workgroups run. */
const PATIENCE = 2 ** 17;
/** Whose GPUs workgroups have been seen to wait for each other on. Elsewhere nobody has tried: GPUs need not let a waiting workgroup's neighbours go on. */
const VENDOR = 'nvidia';
/** Workgroups that are called together to see how many run at the same time, and how often each looks around. */
const MUSTERED = 1024;
const MUSTER_LOOKS = 100;
const NO_PARAMS = {
  eps: 0,
  head_eps: 0,
  weight_offset: 0,
  patience: 0,
  muster: 0,
  never: 0,
  parts: 0,
  at_cursor: 0,
  seen: 0,
};

/** How a product's rows are cut up: pieces of a stretch that a thread reads, and stretches of a row of `k` elements. */
function cut(k: number, lanes: number): { pieces: number; stretches: number } {
  const width = k / 8 / lanes;
  let pieces = MOST_PIECES;
  while (pieces > 1 && width % pieces !== 0) pieces -= 1;
  return { pieces, stretches: width / pieces };
}

/** How the work is shared out: constants of the kernel, fewest workgroups that can do it, and the memory that each needs. */
function plan(device: Device, { in_proj, mixer, out_proj, gate_up }: LayerStep) {
  const lanes = device.opened.subgroupMinSize;
  const [hidden, mixed, inner] = [...out_proj.shape, gate_up.dim(0) / 2] as [number, number, number];
  const cuts = [mixed, hidden, inner].map((k) => cut(k, lanes));
  const longest = Math.max(mixed, hidden, inner) / 8;
  const part = mixerPlan(mixer, lanes, longest);
  const width = Math.max(longest, part.width);
  const rounds = (count: number) => Math.ceil(count / THREADS);
  const constants: Constants = {
    MIXED: mixed,
    HIDDEN: hidden,
    INNER: inner,
    W_DTYPE: DTYPE_CODE[out_proj.dtype as 'bf16'],
    THREADS,
    LANES: lanes,
    ...Object.fromEntries(cuts.map(({ pieces }, p) => [`PIECES_${p}`, pieces])),
    MOST_PIECES: Math.max(...cuts.map(({ pieces }) => pieces)),
    MOST_WIDTH: width,
    MOST_SUMS,
    MIXED_ROUNDS: rounds(part.brought),
    HIDDEN_ROUNDS: rounds(hidden),
    INNER_ROUNDS: rounds(inner),
    MOST_ROUNDS: rounds(Math.max(part.brought, hidden, inner)),
    ...part.constants,
  };
  // A thread finishes at most one row, but for the MLP's inner ones, and the sums of a workgroup's rows fit its memory.
  const [outSums, innerSums, downSums] = cuts.map(({ stretches }) => Math.floor(MOST_SUMS / stretches)) as [
    number,
    number,
    number,
  ];
  const least = Math.max(
    Math.ceil(in_proj.dim(0) / Math.min(THREADS, innerSums)),
    Math.ceil(hidden / Math.min(THREADS, outSums, downSums)),
    Math.ceil(inner / Math.floor(innerSums / 2)),
  );
  const bytes = 32 * width + 4 * MOST_SUMS + 4 * (THREADS / lanes) + part.bytes;
  const words = (workgroups: number) => part.projected + part.words(workgroups) + hidden + inner;
  return { ...part, constants, least, bytes, words };
}

/** Whether a device has what a step with these weights needs, but for workgroups that run at the same time. */
export function canStep(device: Device, step: LayerStep): boolean {
  const { limits } = device;
  const { subgroupMinSize: lanes, subgroupMaxSize } = device.opened;
  if (!device.has('subgroups') || lanes !== subgroupMaxSize || THREADS % lanes !== 0) return false;
  const matrices = [step.in_proj, step.out_proj, step.gate_up, step.down];
  const { dtype } = step.out_proj;
  const isWhole =
    (dtype === 'bf16' || dtype === 'f16') &&
    matrices.every((matrix) => matrix.dtype === dtype && matrix.dim(-1) % (8 * lanes) === 0) &&
    matrices.every(({ byteLength }) => byteLength <= limits.maxStorageBufferBindingSize);
  if (!isWhole) return false;
  const { fits, bytes } = plan(device, step);
  return (
    fits &&
    limits.maxStorageBuffersPerShaderStage >= 15 &&
    Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX) >= THREADS &&
    limits.maxComputeWorkgroupStorageSize >= bytes
  );
}

/** Whether `musterTeam` may find a team. */
export function mayStep(device: Device, step: LayerStep): boolean {
  const { isSoftware, vendor } = device.opened;
  return !isSoftware && vendor === VENDOR && canStep(device, step);
}

/** Fewest workgroups that can share a step. */
export function leastTeam(device: Device, step: LayerStep): number {
  return plan(device, step).least;
}

/** What a team's dispatches of some steps exchange their values through, zeros for each. */
export function createExchange(device: Device, steps: readonly LayerStep[], workgroups: number): Tensor[] {
  const unit = device.limits.minStorageBufferOffsetAlignment / 4;
  const units = steps.map((step) => Math.ceil(plan(device, step).words(workgroups) / unit));
  const all = device.clear(device.tensor([units.reduce((sum, count) => sum + count, 0), unit], 'u32'));
  let first = 0;
  return units.map((count) => {
    first += count;
    return all.rows(first - count, count);
  });
}

/** How many workgroups of a step with these weights run at the same time, found by trying; 0 where they are too few, or the device lacks something else. */
export async function musterTeam(device: Device, step: LayerStep): Promise<number> {
  if (!mayStep(device, step)) return 0;
  const { kernel, constants, least, writes } = plan(device, step);
  const [counts, nothing] = [device.clear(device.tensor([4], 'u32')), device.tensor([4])];
  const [out, ...written] = [device.tensor([4]), ...writes.map(() => device.tensor([4]))] as [Tensor, ...Tensor[]];
  const { inNorm, in_proj, out_proj, norm, gate_up, down } = step;
  try {
    device.run({
      kernel,
      label: `${kernel}: muster`,
      constants,
      bindings: [
        ...[out_proj, gate_up, down, norm.weight, nothing, counts, out, inNorm.weight, in_proj],
        ...writes.map((isWritten, i) => (isWritten ? written[i]! : nothing)),
      ],
      params: { ...NO_PARAMS, muster: MUSTER_LOOKS },
      workgroups: [MUSTERED],
    });
    const team = (await device.readInt32(counts))[1]!;
    return team >= least ? team : 0;
  } finally {
    for (const tensor of [counts, nothing, out, ...written]) device.dispose(tensor);
  }
}

/**
 * A whole decoder layer with a gated delta net, for one token; one dispatch.
 * @param h f32 [1, hidden]
 * @param state f32 conv [channels, taps - 1] and recurrent [valueHeads, keyDim, valueDim], updated in place
 * @returns f32 [1, hidden]
 */
export function deltaLayer(
  h: Tensor,
  step: LayerStep<DeltaMixer>,
  state: { readonly conv: Tensor; readonly recurrent: Tensor },
  team: Team,
): Tensor {
  const { conv1d, A_log, dt_bias, norm, shape } = step.mixer;
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const channels = 2 * keyHeads * keyDim + valueHeads * valueDim;
  const past = channels * (conv1d.dim(1) - 1);
  if (state.conv.size !== past || conv1d.dim(0) !== channels || state.recurrent.size !== valueHeads * keyDim * valueDim)
    throw new KernelError(`deltaLayer: states [${state.conv.shape}] and [${state.recurrent.shape}] do not fit`);
  return run(step, h, team, {
    bindings: [conv1d, state.conv, A_log, dt_bias, norm, state.recurrent],
    flops: gatedDeltaWork(1, shape).flops,
    unread: 0,
  });
}

/**
 * A whole decoder layer with gated attention over a cache, for one token; one dispatch.
 * @param h f32 [1, hidden]
 * @param cache k and v [capacity, kvHeads, dim], which receive the token's own
 * @param rope the token's angles in the table's first row, or where the cursor says
 * @param seen how many tokens of the cache came before; a cursor tells it instead, and `seen` is most that it will be
 * @returns f32 [1, hidden]
 */
export function attentionLayer(
  h: Tensor,
  step: LayerStep<AttentionMixer>,
  cache: { readonly k: Tensor; readonly v: Tensor },
  { rope, seen }: { readonly rope: Rope; readonly seen: number },
  team: Team,
): Tensor {
  const { q_norm, k_norm, shape } = step.mixer;
  const { heads, kvHeads, dim, half } = shape;
  const { k, v } = cache;
  if (k.dtype !== shape.cache || v.dtype !== k.dtype || (seen + 1) * kvHeads * dim > Math.min(k.size, v.size))
    throw new KernelError(`attentionLayer: k [${k.shape}] ${k.dtype} and v [${v.shape}] ${v.dtype} do not fit`);
  if (rope.half !== half || rope.blocks !== 1 || q_norm.size !== dim || k_norm.size !== dim)
    throw new KernelError(`attentionLayer: a table of ${rope.half} angles or norms that do not fit heads of ${dim}`);
  const { cursor } = rope;
  return run(step, h, team, {
    bindings: [q_norm, k_norm, rope.table, cursor ?? q_norm, k, v],
    params: { parts: partsOf(shape, team.workgroups), at_cursor: cursor === undefined ? 0 : 1, seen },
    flops: 4 * (seen + 1) * heads * dim,
    unread: k.byteLength + v.byteLength - 2 * (seen + 1) * kvHeads * dim * DTYPE_BYTES[k.dtype],
  });
}

/** What the two kernels differ in. */
interface Operands {
  readonly bindings: readonly Tensor[];
  readonly params?: Params;
  readonly flops: number;
  /** Bytes of the bindings that are left alone. */
  readonly unread: number;
}

function run(
  step: LayerStep,
  h: Tensor,
  { workgroups, exchange, patience = PATIENCE }: Team,
  { bindings: own, params, flops, unread }: Operands,
): Tensor {
  const { device } = h;
  const { inNorm, in_proj, headEps, out_proj, norm, gate_up, down } = step;
  if (!canStep(device, step)) throw new KernelError('layer_step: the device cannot do this');
  const { kernel, constants, least, words, projected, mixed } = plan(device, step);
  const [hidden, inner] = [out_proj.dim(0), gate_up.dim(0) / 2];
  if (workgroups < least) throw new KernelError(`${kernel}: ${workgroups} workgroups are too few`);
  if (h.dtype !== 'f32' || h.size !== hidden)
    throw new KernelError(`${kernel}: expected f32 [1, ${hidden}], found [${h.shape}] ${h.dtype}`);
  const shapes = [
    [in_proj, projected, hidden],
    [out_proj, hidden, mixed],
    [gate_up, 2 * inner, hidden],
    [down, hidden, inner],
  ] as const;
  for (const [matrix, rows, columns] of shapes) {
    if (matrix.dim(0) !== rows || matrix.dim(1) !== columns)
      throw new KernelError(`${kernel}: a matrix [${matrix.shape}] does not fit; expected [${rows}, ${columns}]`);
  }
  if (inNorm.eps !== norm.eps || inNorm.weightOffset !== norm.weightOffset)
    throw new KernelError(`${kernel}: norms of two kinds`);
  if (exchange.dtype !== 'u32' || exchange.size < words(workgroups))
    throw new KernelError(`${kernel}: exchange [${exchange.shape}] ${exchange.dtype} is too small`);
  const out = device.tensor([1, hidden]);
  const bindings = [out_proj, gate_up, down, norm.weight, h, exchange, out, inNorm.weight, in_proj, ...own];
  device.run({
    kernel,
    constants,
    bindings,
    params: {
      ...NO_PARAMS,
      eps: norm.eps,
      head_eps: headEps,
      weight_offset: norm.weightOffset,
      patience,
      ...params,
    },
    workgroups: [workgroups],
    work: () => ({
      flops: 2 * (in_proj.size + out_proj.size + gate_up.size + down.size) + flops,
      bytes: bytesOf(bindings) - unread,
    }),
  });
  return out;
}

import type { Device } from '../tensor/device.ts';
import { DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Constants } from '../tensor/shader.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type DeltaShape, gatedDeltaWork } from './gated_delta.ts';
import type { InputNorm } from './matmul.ts';

/** What a decoder layer holds of what comes after its mixer. */
export interface LayerEnd {
  /** [hidden, mixed] bf16 or f16. */
  readonly out_proj: Tensor;
  /** Of the sum that the MLP reads. */
  readonly norm: InputNorm;
  /** [2 * inner, hidden], gate rows first, of out_proj's dtype. */
  readonly gate_up: Tensor;
  /** [hidden, inner], of out_proj's dtype. */
  readonly down: Tensor;
}

/** A gated delta net up to its last product. */
export interface DeltaStart {
  /** Of the layer's input; of the same eps and weightOffset as `LayerEnd.norm`. */
  readonly inNorm: InputNorm;
  /** [projected, hidden], rows of q | k | v | z | b | a, of out_proj's dtype. */
  readonly in_proj: Tensor;
  /** f32 [channels, taps]. */
  readonly conv1d: Tensor;
  readonly A_log: Tensor;
  readonly dt_bias: Tensor;
  /** f32 [valueDim]. */
  readonly norm: Tensor;
  /** Of that norm. */
  readonly eps: number;
  readonly shape: DeltaShape;
}

/** Weights of what one dispatch does of a layer: what comes after its mixer, or with `delta` all of it. */
export interface LayerStep {
  readonly end: LayerEnd;
  readonly delta?: DeltaStart | undefined;
}

/** A layer with a delta net. */
export interface DeltaLayer extends LayerStep {
  readonly delta: DeltaStart;
}

/** The workgroups that share a dispatch. */
export interface Team {
  /** At most as many as run at the same time: `musterTeam`. */
  readonly workgroups: number;
  /** Zeros through which they exchange values, used up: a row of `createExchange`. */
  readonly exchange: Tensor;
  /** Looks at a value before giving up and going on with NaN; a tenth of a second's unless given: for tests. */
  readonly patience?: number;
}

/** Threads of a workgroup. */
const THREADS = 1024;
/** Most 16-byte pieces of a row that a thread has on their way twice: of 2 to 10, with 512 and with 1024 threads, up to 5 with 1024 were fastest (H200). */
const MOST_PIECES = 5;
/** Sums of a workgroup's products that its memory holds. */
const MOST_SUMS = 1280;
/** Rows of the delta rule's state that a thread holds. */
const STATE_ROWS = 4;
/** Looks at a word before giving up, of some 0.7 microseconds: values are late by a few of these where all workgroups run. */
const PATIENCE = 2 ** 17;
/** Whose GPUs workgroups have been seen to wait for each other on. Elsewhere nobody has tried: GPUs need not let a waiting workgroup's neighbours go on. */
const VENDOR = 'nvidia';
/** Workgroups that are called together to see how many run at the same time, and how often each looks around. */
const MUSTERED = 1024;
const MUSTER_LOOKS = 100;
const NO_PARAMS = { eps: 0, head_eps: 0, weight_offset: 0, patience: 0, muster: 0, never: 0 };

function kernelOf({ delta }: LayerStep): string {
  return delta === undefined ? 'layer_step/after_mixer' : 'layer_step/delta_layer';
}

function sizesOf({ end }: LayerStep) {
  const [hidden, mixed] = end.out_proj.shape as [number, number];
  return { hidden, mixed, inner: end.gate_up.dim(0) / 2 };
}

/** How a product's rows are cut up: pieces of a stretch that a thread reads, and stretches of a row of `k` elements. */
function cut(k: number, lanes: number): { pieces: number; stretches: number } {
  const width = k / 8 / lanes;
  let pieces = MOST_PIECES;
  while (width % pieces !== 0) pieces -= 1;
  return { pieces, stretches: width / pieces };
}

/** How the work is shared out: constants of the kernel, fewest workgroups that can do it, and the memory that each needs. */
function plan(device: Device, step: LayerStep) {
  const lanes = device.opened.subgroupMinSize;
  const { hidden, mixed, inner } = sizesOf(step);
  const { delta } = step;
  const cuts = [mixed, hidden, inner].map((k) => cut(k, lanes));
  const sums = delta === undefined ? 0 : (deltaThreads(delta.shape) / lanes) * (delta.shape.valueDim / 16);
  const width = Math.max(mixed / 8, hidden / 8, inner / 8, sums); // the delta rule's sums lie where x does
  const rounds = (count: number) => Math.ceil(count / THREADS);
  const brought = mixed + (delta ? 4 * delta.shape.valueHeads : 0);
  const constants: Constants = {
    MIXED: mixed,
    HIDDEN: hidden,
    INNER: inner,
    W_DTYPE: DTYPE_CODE[step.end.out_proj.dtype as 'bf16'],
    THREADS,
    LANES: lanes,
    ...Object.fromEntries(cuts.map(({ pieces }, p) => [`PIECES_${p}`, pieces])),
    MOST_PIECES: Math.max(...cuts.map(({ pieces }) => pieces)),
    MOST_WIDTH: width,
    MOST_SUMS,
    MIXED_ROUNDS: rounds(brought),
    HIDDEN_ROUNDS: rounds(hidden),
    INNER_ROUNDS: rounds(inner),
    MOST_ROUNDS: rounds(Math.max(brought, hidden, inner)),
    ...(delta && {
      PRODUCTS: 4,
      KEY_HEADS: delta.shape.keyHeads,
      VALUE_HEADS: delta.shape.valueHeads,
      DK: delta.shape.keyDim,
      DV: delta.shape.valueDim,
      TAPS: delta.conv1d.dim(1),
      PAST: delta.conv1d.dim(1) - 1,
      ROWS: STATE_ROWS,
    }),
  };
  // A thread finishes at most one row, but for the MLP's inner ones, and the sums of a workgroup's rows fit its memory.
  const [outSums, innerSums, downSums] = cuts.map(({ stretches }) => Math.floor(MOST_SUMS / stretches)) as [
    number,
    number,
    number,
  ];
  const least = Math.max(
    Math.ceil(hidden / Math.min(THREADS, outSums, downSums)),
    Math.ceil(inner / Math.floor(innerSums / 2)),
    ...(delta ? [Math.ceil(delta.in_proj.dim(0) / Math.min(THREADS, innerSums))] : []),
  );
  const bytes = 32 * width + 4 * MOST_SUMS + 4 * (THREADS / lanes);
  return { constants, least, bytes: bytes + (delta ? deltaBytes(delta.shape, lanes) : 0) };
}

/** Threads that work on a quarter of a head's columns. */
function deltaThreads({ keyDim, valueDim }: DeltaShape): number {
  return ((valueDim / 16) * keyDim) / STATE_ROWS;
}

/** Words that they wait for. */
function deltaWords({ keyDim, valueDim }: DeltaShape): number {
  return 2 * keyDim + valueDim / 2 + 2;
}

/** Workgroup memory of the delta rule. */
function deltaBytes(shape: DeltaShape, lanes: number): number {
  return 16 * (deltaThreads(shape) / lanes) + 4 * deltaWords(shape) + 16 * shape.valueHeads;
}

function fitsDelta({ in_proj, shape }: DeltaStart, hidden: number, lanes: number): boolean {
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const quads = valueDim / 16;
  const projected = 2 * keyHeads * keyDim + 2 * valueHeads * (valueDim + 1);
  return (
    in_proj.dim(0) === projected &&
    in_proj.dim(1) === hidden &&
    valueDim % 16 === 0 &&
    lanes % quads === 0 &&
    keyDim % STATE_ROWS === 0 &&
    deltaThreads(shape) % lanes === 0 &&
    Math.max(deltaThreads(shape), deltaWords(shape)) <= THREADS
  );
}

/** Whether a device has what a step with these weights needs, but for workgroups that run at the same time. */
export function canStep(device: Device, step: LayerStep): boolean {
  const { limits } = device;
  const { subgroupMinSize: lanes, subgroupMaxSize } = device.opened;
  if (!device.has('subgroups') || lanes !== subgroupMaxSize || THREADS % lanes !== 0) return false;
  const { end, delta } = step;
  const matrices = [end.out_proj, end.gate_up, end.down, ...(delta ? [delta.in_proj] : [])];
  const { dtype } = end.out_proj;
  return (
    (dtype === 'bf16' || dtype === 'f16') &&
    matrices.every((matrix) => matrix.dtype === dtype && matrix.dim(-1) % (8 * lanes) === 0) &&
    matrices.every(({ byteLength }) => byteLength <= limits.maxStorageBufferBindingSize) &&
    (delta === undefined || fitsDelta(delta, sizesOf(step).hidden, lanes)) &&
    limits.maxStorageBuffersPerShaderStage >= (delta ? 15 : 8) &&
    Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX) >= THREADS &&
    limits.maxComputeWorkgroupStorageSize >= plan(device, step).bytes
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

function wordsOf(step: LayerStep): number {
  const { hidden, mixed, inner } = sizesOf(step);
  const { delta } = step;
  return hidden + inner + (delta ? delta.in_proj.dim(0) + mixed + 4 * delta.shape.valueHeads : 0);
}

/** What the dispatches of some steps exchange their values through, a row of zeros for each. */
export function createExchange(device: Device, steps: readonly LayerStep[]): Tensor {
  const alignment = device.limits.minStorageBufferOffsetAlignment / 4;
  const words = Math.ceil(Math.max(...steps.map(wordsOf)) / alignment) * alignment;
  return device.clear(device.tensor([steps.length, words], 'u32'));
}

/** How many workgroups of a step with these weights run at the same time, found by trying; 0 where they are too few, or the device lacks something else. */
export async function musterTeam(device: Device, step: LayerStep): Promise<number> {
  if (!mayStep(device, step)) return 0;
  const exchange = createExchange(device, [step]);
  const nothing = device.tensor([4]);
  const written = Array.from({ length: 3 }, () => device.tensor([4]));
  const { out_proj, norm, gate_up, down } = step.end;
  const [out, history, state] = written as [Tensor, Tensor, Tensor];
  const { constants, least } = plan(device, step);
  try {
    device.run({
      kernel: kernelOf(step),
      label: `${kernelOf(step)}: muster`,
      constants,
      bindings: [
        ...[out_proj, gate_up, down, norm.weight, nothing, exchange, out, nothing],
        ...(step.delta ? [nothing, nothing, history, nothing, nothing, nothing, state] : []),
      ],
      params: { ...NO_PARAMS, muster: MUSTER_LOOKS },
      workgroups: [MUSTERED],
    });
    const team = (await device.readInt32(exchange))[1]!;
    return team >= least ? team : 0;
  } finally {
    for (const tensor of [exchange, nothing, ...written]) device.dispose(tensor);
  }
}

/**
 * What a decoder layer does with one token after its mixer: `h = residual + out_proj mixed`, then `h + down (silu(gate n) * (up n))` with n the norm of h; one dispatch.
 * @param mixed f32 [1, mixed]
 * @param residual f32 [1, hidden]
 * @returns f32 [1, hidden]
 */
export function finishLayer(mixed: Tensor, residual: Tensor, end: LayerEnd, team: Team): Tensor {
  const k = end.out_proj.dim(1);
  if (mixed.dtype !== 'f32' || mixed.size !== k)
    throw new KernelError(`finishLayer: expected f32 [1, ${k}], found [${mixed.shape}] ${mixed.dtype}`);
  return run({ end }, residual, team, { bindings: [mixed], headEps: 0, flops: 0 });
}

/**
 * A whole decoder layer with a gated delta net, for one token; one dispatch.
 * @param h f32 [1, hidden]
 * @param state f32 conv [channels, taps - 1] and recurrent [valueHeads, keyDim, valueDim], updated in place
 * @returns f32 [1, hidden]
 */
export function deltaLayer(
  h: Tensor,
  step: DeltaLayer,
  state: { readonly conv: Tensor; readonly recurrent: Tensor },
  team: Team,
): Tensor {
  const { inNorm, in_proj, conv1d, A_log, dt_bias, norm, eps, shape } = step.delta;
  const { valueHeads, keyDim, valueDim } = shape;
  const channels = in_proj.dim(0) - valueHeads * (valueDim + 2);
  const [past, own] = [channels * (conv1d.dim(1) - 1), step.end.norm];
  if (state.conv.size !== past || conv1d.dim(0) !== channels || state.recurrent.size !== valueHeads * keyDim * valueDim)
    throw new KernelError(`deltaLayer: states [${state.conv.shape}] and [${state.recurrent.shape}] do not fit`);
  if (
    inNorm.eps !== own.eps ||
    inNorm.weightOffset !== own.weightOffset ||
    step.end.out_proj.dim(1) !== valueHeads * valueDim
  )
    throw new KernelError('deltaLayer: norms of two kinds, or an out_proj that does not fit');
  return run(step, h, team, {
    bindings: [inNorm.weight, in_proj, conv1d, state.conv, A_log, dt_bias, norm, state.recurrent],
    headEps: eps,
    flops: 2 * in_proj.size + gatedDeltaWork(1, shape).flops,
  });
}

/** What the two kernels differ in. */
interface Operands {
  readonly bindings: readonly Tensor[];
  readonly headEps: number;
  readonly flops: number;
}

function run(
  step: LayerStep,
  residual: Tensor,
  { workgroups, exchange, patience = PATIENCE }: Team,
  { bindings, headEps, flops }: Operands,
): Tensor {
  const { device } = residual;
  const { out_proj, norm, gate_up, down } = step.end;
  const { hidden, inner } = sizesOf(step);
  const { constants, least } = plan(device, step);
  const kernel = kernelOf(step);
  if (!canStep(device, step) || workgroups < least)
    throw new KernelError(`${kernel}: the device cannot do this with ${workgroups} workgroups`);
  if (residual.dtype !== 'f32' || residual.size !== hidden)
    throw new KernelError(`${kernel}: expected f32 [1, ${hidden}], found [${residual.shape}] ${residual.dtype}`);
  if (gate_up.dim(1) !== hidden || down.dim(0) !== hidden || down.dim(1) !== inner)
    throw new KernelError(`${kernel}: gate_up [${gate_up.shape}] and down [${down.shape}] do not fit`);
  if (exchange.dtype !== 'u32' || exchange.size < wordsOf(step))
    throw new KernelError(`${kernel}: exchange [${exchange.shape}] ${exchange.dtype} is too small`);
  const out = device.tensor([1, hidden]);
  device.run({
    kernel,
    constants,
    bindings: [out_proj, gate_up, down, norm.weight, residual, exchange, out, ...bindings],
    params: { ...NO_PARAMS, eps: norm.eps, head_eps: headEps, weight_offset: norm.weightOffset, patience },
    workgroups: [workgroups],
    work: () => ({ flops: 2 * (out_proj.size + gate_up.size + down.size) + flops }),
  });
  return out;
}

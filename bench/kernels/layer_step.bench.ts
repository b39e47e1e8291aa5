import { type KernelBench, kernelBench, randomTensor, SkippedBench } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import type { DeltaShape } from '../../src/kernels/gated_delta.ts';
import type { AttentionMixer, AttentionShape, DeltaMixer } from '../../src/kernels/layer_mixers.ts';
import {
  attentionLayer,
  createExchange,
  deltaLayer,
  type LayerStep,
  leastTeam,
  musterTeam,
} from '../../src/kernels/layer_step.ts';
import type { Device } from '../../src/tensor/device.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { attentionLayerReference, deltaLayerReference } from '../../test/reference/layer_step.ts';

interface Sizes<Shape> {
  readonly hidden: number;
  readonly inner: number;
  readonly shape: Shape;
}

interface AttentionSizes extends Sizes<AttentionShape> {
  /** Tokens before this one. */
  readonly seen: number;
}

/** Qwen3.5-4B's layers, and some as wide as subgroups of 32 need it, with few enough rows for a CPU, which does everything in one workgroup. */
const QWEN = { hidden: 2560, inner: 9216 };
const REDUCED = { hidden: 256, inner: 256 };
const DELTA = { ...QWEN, shape: { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128 } };
const SMALL_DELTA = { ...REDUCED, shape: { keyHeads: 1, valueHeads: 2, keyDim: 128, valueDim: 128 } };
const HEADS = { heads: 16, kvHeads: 4, dim: 256, half: 32, cache: 'f16' } as const;
const ATTENTION: AttentionSizes[] = [512, 32768].map((seen) => ({ ...QWEN, shape: HEADS, seen }));
const SMALL_ATTENTION: AttentionSizes = {
  ...REDUCED,
  shape: { ...HEADS, heads: 4, kvHeads: 2, dim: 64, half: 8 },
  seen: 30,
};
const TAPS = 4;
const EPS = 1e-6;

/** Workgroups that run at the same time, by kind of mixer and device. */
const teams = new Map<string, WeakMap<Device, number>>();

function teamOf(device: Device, step: LayerStep): number {
  const team = device.opened.isSoftware ? 1 : (teams.get(step.mixer.kind)?.get(device) ?? 0);
  if (team < leastTeam(device, step)) throw new SkippedBench('too few workgroups run at the same time');
  return team;
}

/** For `teamOf`; a CPU needs no trying. */
async function muster(device: Device, { step, operands }: Layer<DeltaMixer | AttentionMixer>): Promise<void> {
  if (!device.opened.isSoftware) {
    const ofKind = teams.get(step.mixer.kind) ?? new WeakMap<Device, number>();
    teams.set(step.mixer.kind, ofKind.set(device, await musterTeam(device, step)));
  }
  for (const tensor of operands) device.dispose(tensor);
}

interface Layer<Mixer extends DeltaMixer | AttentionMixer> {
  readonly step: LayerStep<Mixer>;
  readonly operands: readonly Tensor[];
}

/** A layer's random weights. */
function layer<Mixer extends DeltaMixer | AttentionMixer>(
  device: Device,
  [projected, mixed]: readonly [number, number],
  { hidden, inner }: { readonly hidden: number; readonly inner: number },
  mixer: Mixer,
): Layer<Mixer> {
  const matrix = (rows: number, columns: number) =>
    randomTensor(device, [rows, columns], 'bf16', Math.sqrt(3 / columns));
  const norm = () => ({ weight: randomTensor(device, [hidden]), eps: EPS, weightOffset: 1, dtype: 'f32' }) as const;
  const matrices = {
    in_proj: matrix(projected, hidden),
    out_proj: matrix(hidden, mixed),
    gate_up: matrix(2 * inner, hidden),
    down: matrix(hidden, inner),
  };
  const step = { ...matrices, mixer, inNorm: norm(), norm: norm(), headEps: EPS };
  const weights = Object.values(mixer).filter((part): part is Tensor => typeof part === 'object' && 'dtype' in part);
  return { step, operands: [...Object.values(matrices), step.inNorm.weight, step.norm.weight, ...weights] };
}

function deltaNet(device: Device, sizes: Sizes<DeltaShape>): Layer<DeltaMixer> {
  const { keyHeads, valueHeads, keyDim, valueDim } = sizes.shape;
  const [mixed, channels] = [valueHeads * valueDim, 2 * keyHeads * keyDim + valueHeads * valueDim];
  return layer(device, [channels + mixed + 2 * valueHeads, mixed], sizes, {
    kind: 'delta',
    shape: sizes.shape,
    conv1d: randomTensor(device, [channels, TAPS]),
    A_log: randomTensor(device, [valueHeads]),
    dt_bias: randomTensor(device, [valueHeads]),
    norm: randomTensor(device, [valueDim]),
  });
}

function attention(device: Device, sizes: Sizes<AttentionShape>): Layer<AttentionMixer> {
  const { heads, kvHeads, dim } = sizes.shape;
  return layer(device, [2 * (heads + kvHeads) * dim, heads * dim], sizes, {
    kind: 'attention',
    shape: sizes.shape,
    q_norm: randomTensor(device, [dim]),
    k_norm: randomTensor(device, [dim]),
  });
}

/** What the twins take of any layer. */
async function valuesOf({ in_proj, out_proj, gate_up, down, inNorm, norm }: LayerStep) {
  return {
    in_proj: await floatValues(in_proj),
    out_proj: await floatValues(out_proj),
    gateUp: await floatValues(gate_up),
    down: await floatValues(down),
    inNorm: await floatValues(inNorm.weight),
    norm: await floatValues(norm.weight),
  };
}

const BOTH_EPS = { eps: EPS, headEps: EPS };

const deltaBench = kernelBench<Sizes<DeltaShape>>({
  name: 'layer_step',
  variant: 'delta_layer',
  sizes: DELTA,
  reduced: SMALL_DELTA,
  describe: ({ hidden, inner, shape: { valueHeads, valueDim } }) =>
    `1x${hidden}, delta net of ${valueHeads} heads of ${valueDim}, ${inner} inner, bf16 weights`,
  prepare: (device, sizes) => muster(device, deltaNet(device, sizes)),
  setup: (device, sizes) => {
    const { step, operands } = deltaNet(device, sizes);
    const workgroups = teamOf(device, step);
    const { conv1d, A_log, dt_bias, norm, shape } = step.mixer;
    const h = randomTensor(device, [1, sizes.hidden]);
    const conv = randomTensor(device, [conv1d.dim(0), TAPS - 1]);
    const recurrent = randomTensor(device, [shape.valueHeads, shape.keyDim, shape.valueDim]);
    return {
      operands: [...operands, h, conv, recurrent],
      run: () => {
        const [exchange] = createExchange(device, [step], workgroups) as [Tensor];
        return deltaLayer(h, step, { conv, recurrent }, { workgroups, exchange });
      },
      expected: async () => {
        const values = await valuesOf(step);
        const start = {
          ...values,
          conv: await floatValues(conv1d),
          past: await floatValues(conv),
          A_log: await floatValues(A_log),
          dt_bias: await floatValues(dt_bias),
          norm: await floatValues(norm),
          state: await floatValues(recurrent),
        };
        return deltaLayerReference(await floatValues(h), values, start, shape, BOTH_EPS).out;
      },
    };
  },
});

const attentionBenches = ATTENTION.map((full) =>
  kernelBench<AttentionSizes>({
    name: 'layer_step',
    variant: 'attention_layer',
    sizes: full,
    reduced: SMALL_ATTENTION,
    describe: ({ hidden, inner, shape: { heads, kvHeads, dim }, seen }) =>
      `1x${hidden}, attention of ${heads}/${kvHeads} heads of ${dim} after ${seen}, ${inner} inner, bf16 weights`,
    prepare: (device, sizes) => muster(device, attention(device, sizes)),
    setup: (device, sizes) => {
      const { step, operands } = attention(device, sizes);
      const workgroups = teamOf(device, step);
      const { q_norm, k_norm, shape } = step.mixer;
      const { seen } = sizes;
      const h = randomTensor(device, [1, sizes.hidden]);
      const room = [seen + 1, shape.kvHeads, shape.dim];
      const cache = { k: randomTensor(device, room, 'f16'), v: randomTensor(device, room, 'f16') };
      const angles = Array.from({ length: shape.half }, (_, i) => i);
      const row = Float32Array.from(angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]));
      const table = device.upload(row, [1, shape.half, 2], 'f32');
      const rope = { table, half: shape.half, blocks: 1 };
      return {
        operands: [...operands, h, cache.k, cache.v, table],
        run: () => {
          const [exchange] = createExchange(device, [step], workgroups) as [Tensor];
          return attentionLayer(h, step, cache, { rope, seen }, { workgroups, exchange });
        },
        expected: async () => {
          const values = await valuesOf(step);
          const past = (all: Float32Array) => all.subarray(0, seen * shape.kvHeads * shape.dim);
          const start = {
            ...values,
            q_norm: await floatValues(q_norm),
            k_norm: await floatValues(k_norm),
            k: past(await floatValues(cache.k)),
            v: past(await floatValues(cache.v)),
            angles,
          };
          return attentionLayerReference(await floatValues(h), values, start, shape, BOTH_EPS).out;
        },
      };
    },
  }),
);

/** A decoding step's layers in one dispatch each. */
export const benches: readonly KernelBench[] = [deltaBench, ...attentionBenches];

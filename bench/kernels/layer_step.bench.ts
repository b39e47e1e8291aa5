import { type KernelBench, kernelBench, randomTensor, SkippedBench } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import type { DeltaShape } from '../../src/kernels/gated_delta.ts';
import {
  createExchange,
  type DeltaLayer,
  deltaLayer,
  finishLayer,
  type LayerStep,
  leastTeam,
  musterTeam,
} from '../../src/kernels/layer_step.ts';
import type { Device } from '../../src/tensor/device.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deltaLayerReference, finishLayerReference } from '../../test/reference/layer_step.ts';

interface Sizes {
  readonly hidden: number;
  readonly inner: number;
  readonly shape: DeltaShape;
}

/** Qwen3.5-4B's layers; heads of attention are as wide together. */
const QWEN: Sizes = { hidden: 2560, inner: 9216, shape: { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128 } };
/** As wide as subgroups of 32 need it, and few enough rows for a CPU, which does everything in one workgroup. */
const REDUCED: Sizes = { hidden: 256, inner: 256, shape: { keyHeads: 1, valueHeads: 2, keyDim: 128, valueDim: 128 } };
const TAPS = 4;
const EPS = 1e-6;

/** Workgroups that run at the same time, by variant and device. */
const teams = new Map<string, WeakMap<Device, number>>();

function teamOf(device: Device, variant: string, step: LayerStep): number {
  const team = device.opened.isSoftware ? 1 : (teams.get(variant)?.get(device) ?? 0);
  if (team < leastTeam(device, step)) throw new SkippedBench('too few workgroups run at the same time');
  return team;
}

/** For `teamOf`; a CPU needs no trying. */
async function muster(device: Device, variant: string, sizes: Sizes): Promise<void> {
  if (device.opened.isSoftware) return;
  const { step, operands } = layer(device, sizes, variant === 'delta_layer');
  const team = await musterTeam(device, step);
  for (const tensor of operands) device.dispose(tensor);
  const ofVariant = teams.get(variant) ?? new WeakMap<Device, number>();
  teams.set(variant, ofVariant.set(device, team));
}

/** A layer's random weights. */
function layer(device: Device, { hidden, inner, shape }: Sizes, isWhole: boolean) {
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const mixed = valueHeads * valueDim;
  const channels = 2 * keyHeads * keyDim + mixed;
  const matrix = (rows: number, columns: number) =>
    randomTensor(device, [rows, columns], 'bf16', Math.sqrt(3 / columns));
  const vector = (...dims: number[]) => randomTensor(device, dims);
  const norm = { weight: vector(hidden), eps: EPS, weightOffset: 1, dtype: 'f32' } as const;
  const end = {
    out_proj: matrix(hidden, mixed),
    norm,
    gate_up: matrix(2 * inner, hidden),
    down: matrix(hidden, inner),
  };
  const ends = [end.out_proj, norm.weight, end.gate_up, end.down];
  if (!isWhole) return { step: { end }, operands: ends };
  const inNorm = { ...norm, weight: vector(hidden) };
  const parts = {
    in_proj: matrix(channels + mixed + 2 * valueHeads, hidden),
    conv1d: vector(channels, TAPS),
    A_log: vector(valueHeads),
    dt_bias: vector(valueHeads),
    norm: vector(valueDim),
  };
  const delta = { inNorm, ...parts, eps: EPS, shape };
  return { step: { end, delta }, operands: [...ends, inNorm.weight, ...Object.values(parts)] };
}

async function endValues({ out_proj, norm, gate_up, down }: LayerStep['end']) {
  const [projection, gateUp] = [await floatValues(out_proj), await floatValues(gate_up)];
  return { out_proj: projection, norm: await floatValues(norm.weight), gateUp, down: await floatValues(down) };
}

function describe({ hidden, inner, shape: { valueHeads, valueDim } }: Sizes): string {
  return `1x${hidden}, ${valueHeads * valueDim} mixed, ${inner} inner, bf16 weights`;
}

const afterMixer = kernelBench<Sizes>({
  name: 'layer_step',
  variant: 'after_mixer',
  sizes: QWEN,
  reduced: REDUCED,
  describe,
  prepare: (device, sizes) => muster(device, 'after_mixer', sizes),
  setup: (device, sizes) => {
    const { step, operands } = layer(device, sizes, false);
    const workgroups = teamOf(device, 'after_mixer', step);
    const mixed = randomTensor(device, [1, sizes.shape.valueHeads * sizes.shape.valueDim]);
    const residual = randomTensor(device, [1, sizes.hidden]);
    return {
      operands: [...operands, mixed, residual],
      run: () => finishLayer(mixed, residual, step.end, { workgroups, exchange: createExchange(device, [step]) }),
      expected: async () =>
        finishLayerReference(await floatValues(mixed), await floatValues(residual), await endValues(step.end), EPS),
    };
  },
});

const wholeLayer = kernelBench<Sizes>({
  name: 'layer_step',
  variant: 'delta_layer',
  sizes: QWEN,
  reduced: REDUCED,
  describe,
  prepare: (device, sizes) => muster(device, 'delta_layer', sizes),
  setup: (device, sizes) => {
    const { step, operands } = layer(device, sizes, true);
    const { end, delta } = step as DeltaLayer;
    const workgroups = teamOf(device, 'delta_layer', step);
    const { valueHeads, keyDim, valueDim } = sizes.shape;
    const h = randomTensor(device, [1, sizes.hidden]);
    const conv = randomTensor(device, [delta.conv1d.dim(0), TAPS - 1]);
    const recurrent = randomTensor(device, [valueHeads, keyDim, valueDim]);
    return {
      operands: [...operands, h, conv, recurrent],
      run: () => {
        const exchange = createExchange(device, [step]);
        return deltaLayer(h, { end, delta }, { conv, recurrent }, { workgroups, exchange });
      },
      expected: async () => {
        const read = (tensor: Tensor) => floatValues(tensor);
        const start = {
          inNorm: await read(delta.inNorm.weight),
          in_proj: await read(delta.in_proj),
          conv: await read(delta.conv1d),
          past: await read(conv),
          A_log: await read(delta.A_log),
          dt_bias: await read(delta.dt_bias),
          norm: await read(delta.norm),
          state: await read(recurrent),
        };
        const eps = { eps: EPS, headEps: EPS };
        return deltaLayerReference(await read(h), await endValues(end), start, sizes.shape, eps).out;
      },
    };
  },
});

/** A decoding step's layers in one dispatch each. */
export const benches: readonly KernelBench[] = [afterMixer, wholeLayer];

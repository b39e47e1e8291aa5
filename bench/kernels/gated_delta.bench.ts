import { type KernelBench, kernelBench, randomTensor, SkippedBench } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import {
  type DeltaShape,
  GATED_DELTA_VARIANTS,
  type GatedDeltaVariant,
  gatedDelta,
  gatedDeltaNorm,
  gatedDeltaSupports,
  gatedDeltaWork,
} from '../../src/kernels/gated_delta.ts';
import type { Device } from '../../src/tensor/device.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { gatedDeltaReference } from '../../test/reference/gated_delta.ts';

interface Sizes extends DeltaShape {
  readonly tokens: number;
}

/** Qwen3.5-4B's heads, and the count that flash-linear-attention quotes its own times for. */
const QWEN: DeltaShape = { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128 };
const QUOTED: DeltaShape = { ...QWEN, valueHeads: 48 };

/** As many value heads a key head, and few enough of both for a CPU. */
function reduced({ keyHeads, valueHeads, ...dims }: DeltaShape, tokens: number): Sizes {
  return { ...dims, keyHeads: 1, valueHeads: valueHeads / keyHeads, tokens: Math.min(tokens, 70) };
}

function describe({ tokens, valueHeads, valueDim }: Sizes): string {
  return `T=${tokens}, ${valueHeads} value heads of ${valueDim}`;
}

function operands(
  device: Device,
  { tokens, keyHeads, valueHeads, keyDim, valueDim }: Sizes,
  dtype: 'f32' | 'f16' = 'f32',
) {
  const values = valueHeads * valueDim;
  return {
    y: randomTensor(device, [tokens, 2 * keyHeads * keyDim + values], dtype),
    projection: randomTensor(device, [tokens, values + 2 * valueHeads]),
    A_log: randomTensor(device, [valueHeads]),
    dt_bias: randomTensor(device, [valueHeads]),
    norm: randomTensor(device, [valueDim]),
    state: randomTensor(device, [valueHeads, keyDim, valueDim]),
  };
}

/** What the twin makes of the operands: o [T, valueHeads, valueDim], and the columns of z. */
async function twin(tensors: ReturnType<typeof operands>, sizes: Sizes) {
  const { valueHeads, valueDim } = sizes;
  const values = valueHeads * valueDim;
  const width = values + 2 * valueHeads;
  const read = async (tensor: Tensor) => floatValues(tensor);
  const rows = await read(tensors.projection);
  const columns = (from: number, count: number) => rows.filter((_, i) => i % width >= from && i % width < from + count);
  const [b, a] = [columns(values, valueHeads), columns(values + valueHeads, valueHeads)];
  const [y, A_log, dt_bias] = [await read(tensors.y), await read(tensors.A_log), await read(tensors.dt_bias)];
  const state = Float64Array.from(await read(tensors.state));
  return { o: gatedDeltaReference(y, b, a, A_log, dt_bias, state, sizes), z: columns(0, values) };
}

function bench(variant: GatedDeltaVariant, shape: DeltaShape, tokens: number): KernelBench {
  return kernelBench<Sizes>({
    name: 'gated_delta',
    variant,
    sizes: { ...shape, tokens },
    reduced: reduced(shape, tokens),
    describe,
    setup: (device, sizes) => {
      const dtype = variant === 'chunked_matrix' ? 'f16' : 'f32';
      if (!gatedDeltaSupports(device, variant, sizes, dtype))
        throw new SkippedBench('this variant needs features that the device lacks');
      const tensors = operands(device, sizes, dtype);
      const { y, projection, A_log, dt_bias, state } = tensors;
      const values = sizes.valueHeads * sizes.valueDim;
      const gates = { tensor: projection, b: values, a: values + sizes.valueHeads };
      return {
        operands: Object.values(tensors),
        work: gatedDeltaWork(sizes.tokens, sizes, dtype),
        run: () => gatedDelta(y, gates, A_log, dt_bias, state, sizes, { variant }),
        expected: async () => (await twin(tensors, sizes)).o,
      };
    },
  });
}

/** One token, with the norm at the end but for its factors. */
function stepBench(shape: DeltaShape): KernelBench {
  return kernelBench<Sizes>({
    name: 'gated_delta',
    variant: 'step',
    sizes: { ...shape, tokens: 1 },
    reduced: reduced(shape, 1),
    describe,
    setup: (device, sizes) => {
      const tensors = operands(device, sizes);
      const { y, projection, A_log, dt_bias, state, norm } = tensors;
      const values = sizes.valueHeads * sizes.valueDim;
      const gates = { tensor: projection, b: values, a: values + sizes.valueHeads };
      const output = { weight: norm, z: 0, eps: 1e-6, dtype: 'f16' } as const;
      return {
        operands: Object.values(tensors),
        run: () => gatedDeltaNorm(y, gates, A_log, dt_bias, state, sizes, output).normed,
        expected: async () => {
          const { o, z } = await twin(tensors, sizes);
          const weight = await floatValues(norm);
          return o.map((value, i) => (weight[i % sizes.valueDim]! * value * z[i]!) / (1 + Math.exp(-z[i]!)));
        },
      };
    },
  });
}

/** Every form of the rule at prefill lengths, and one decoding step. */
export const benches: readonly KernelBench[] = [
  ...GATED_DELTA_VARIANTS.flatMap((variant) => [
    bench(variant, QWEN, 512),
    bench(variant, QWEN, 8192),
    bench(variant, QUOTED, 8192),
  ]),
  stepBench(QWEN),
  stepBench(QUOTED),
];

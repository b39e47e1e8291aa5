import { type DeltaShape, GATED_DELTA_VARIANTS, gatedDelta, gatedDeltaNorm } from '../../src/kernels/gated_delta.ts';
import type { Device } from '../../src/tensor/device.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

/** Qwen3.5-4B. */
const SHAPE: DeltaShape = { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128 };
const { keyHeads, valueHeads, keyDim, valueDim } = SHAPE;
const VALUES = valueHeads * valueDim;
const CHANNELS = 2 * keyHeads * keyDim + VALUES;

function operands(device: Device, tokens: number) {
  return {
    y: randomTensor(device, [tokens, CHANNELS]),
    projection: randomTensor(device, [tokens, VALUES + 2 * valueHeads]),
    A_log: randomTensor(device, [valueHeads]),
    dt_bias: randomTensor(device, [valueHeads]),
    norm: randomTensor(device, [valueDim]),
    state: randomTensor(device, [valueHeads, keyDim, valueDim]),
  };
}

/** FLOPs of the recurrence: three passes over the state (predict, update, read out), two operations a value each. */
function cost(tokens: number) {
  const state = valueHeads * keyDim * valueDim;
  return { flops: 6 * tokens * state, bytes: 4 * (tokens * (CHANNELS + VALUES) + 2 * state) };
}

function bench(variant: (typeof GATED_DELTA_VARIANTS)[number] | 'step', tokens: number): KernelBench {
  return {
    name: 'gated_delta',
    variant,
    shape: `T=${tokens}, ${valueHeads} value heads of ${valueDim}`,
    setup(device) {
      const { y, projection, A_log, dt_bias, norm, state } = operands(device, tokens);
      const gates = { tensor: projection, b: VALUES, a: VALUES + valueHeads };
      const run =
        variant === 'step'
          ? () =>
              void gatedDeltaNorm(y, gates, A_log, dt_bias, state, SHAPE, {
                weight: norm,
                z: 0,
                eps: 1e-6,
                dtype: 'f16',
              })
          : () => void gatedDelta(y, gates, A_log, dt_bias, state, SHAPE, { variant });
      return {
        ...cost(tokens),
        run,
        dispose: () => {
          for (const tensor of [y, projection, A_log, dt_bias, norm, state]) device.dispose(tensor);
        },
      };
    },
  };
}

/** Both forms of the rule at prefill lengths, and one decoding step with its norm. */
export const benches: readonly KernelBench[] = [
  ...GATED_DELTA_VARIANTS.flatMap((variant) => [512, 8192].map((tokens) => bench(variant, tokens))),
  bench('step', 1),
];

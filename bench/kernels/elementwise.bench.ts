import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { addScaled, blend, convert, narrow, sigmoidGate, siluMul } from '../../src/kernels/elementwise.ts';
import { heads } from '../../src/kernels/heads.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import * as reference from '../../test/reference/elementwise.ts';
import { headIndices } from '../../test/reference/heads.ts';

const TOKENS = 2048;
const DIM = 2560;
const FF = 9216;
const HEADS = 16;
const HEAD_DIM = 256;
/** A full-attention layer's fused projection: queries and gates by turns, keys, values. */
const PROJECTION = 2 * HEADS * HEAD_DIM + 2 * 4 * HEAD_DIM;

interface Operation {
  readonly variant: string;
  readonly tokens: number;
  readonly describe: (tokens: number) => string;
  /** Shapes of the f32 operands. */
  readonly shapes: (tokens: number) => number[][];
  readonly run: (operands: readonly Tensor[], tokens: number) => Tensor;
  readonly twin: (operands: readonly Float32Array[], tokens: number) => ArrayLike<number>;
}

function bench({ variant, tokens, describe, shapes, run, twin }: Operation): KernelBench {
  return kernelBench({
    name: 'elementwise',
    variant,
    sizes: tokens,
    reduced: Math.min(tokens, 3),
    describe,
    setup: (device, tokens) => {
      const operands = shapes(tokens).map((shape) => randomTensor(device, shape));
      return {
        operands,
        run: () => run(operands, tokens),
        expected: async () => twin(await Promise.all(operands.map(floatValues)), tokens),
      };
    },
  });
}

const hidden = (count: number) => (tokens: number) => Array.from({ length: count }, () => [tokens, DIM]);

function siluMulBench(tokens: number, dtype: 'f32' | 'f16'): KernelBench {
  return bench({
    variant: 'silu_mul',
    tokens,
    describe: (tokens) => `T=${tokens} F=${FF} ${dtype}`,
    shapes: (tokens) => [[tokens, 2 * FF]],
    run: ([gateUp]) => siluMul(gateUp!, dtype),
    twin: ([gateUp]) => reference.siluMul(gateUp!, FF),
  });
}

/** Where the gates lie in the projection. */
const gates = (tokens: number) => ({
  tokens,
  heads: HEADS,
  dim: HEAD_DIM,
  tokenStride: PROJECTION,
  headStride: 2 * HEAD_DIM,
  offset: HEAD_DIM,
});

/** The residual stream, the MLP and the attention gate of a Qwen3.5-4B prefill. */
export const benches: readonly KernelBench[] = [
  bench({
    variant: 'add_scaled',
    tokens: TOKENS,
    describe: (tokens) => `T=${tokens} D=${DIM}`,
    shapes: hidden(2),
    run: ([a, b]) => addScaled(a!, b!, { scaleA: 1, scaleB: 0.5 }),
    twin: ([a, b]) => reference.addScaled(a!, b!, 1, 0.5),
  }),
  bench({
    variant: 'blend',
    tokens: TOKENS,
    describe: (tokens) => `T=${tokens} D=${DIM}`,
    shapes: hidden(3),
    run: ([s, a, b]) => blend(s!, a!, b!),
    twin: ([s, a, b]) => reference.blend(s!, a!, b!),
  }),
  bench({
    variant: 'convert',
    tokens: TOKENS,
    describe: (tokens) => `T=${tokens} D=${DIM} f32 to f16`,
    shapes: hidden(1),
    run: ([x]) => convert(x!, 'f16'),
    twin: ([x]) => x!,
  }),
  bench({
    variant: 'narrow',
    tokens: TOKENS,
    describe: (tokens) => `T=${tokens} D=${DIM} f32 to f16`,
    shapes: hidden(1),
    run: ([x]) => {
      const { device } = x!;
      const [y, unfit] = [device.tensor(x!.shape, 'f16'), device.tensor([1], 'u32')];
      narrow(x!, y, unfit, 0);
      device.dispose(unfit);
      return y;
    },
    twin: ([x]) => Float64Array.from(x!, reference.nearestHalf),
  }),
  siluMulBench(1, 'f32'),
  siluMulBench(TOKENS, 'f32'),
  siluMulBench(TOKENS, 'f16'),
  bench({
    variant: 'sigmoid_gate',
    tokens: TOKENS,
    describe: (tokens) => `T=${tokens} H=${HEADS} D=${HEAD_DIM} f16`,
    shapes: (tokens) => [
      [tokens, HEADS, HEAD_DIM],
      [tokens, PROJECTION],
    ],
    run: ([a, projection], tokens) => sigmoidGate(a!, heads(projection!, gates(tokens)), 'f16'),
    twin: ([a, projection], tokens) => {
      const gate = headIndices(gates(tokens)).map((i) => projection![i]!);
      return reference.sigmoidGate(a!, gate);
    },
  }),
];

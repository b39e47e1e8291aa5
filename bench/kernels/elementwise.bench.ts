import { addScaled, blend, convert, sigmoidGate, siluMul } from '../../src/kernels/elementwise.ts';
import { heads } from '../../src/kernels/heads.ts';
import type { Device } from '../../src/tensor/device.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { type KernelBench, type KernelRun, randomTensor } from '../harness.ts';

const TOKENS = 2048;
const DIM = 2560;
const FF = 9216;
const HEADS = 16;
const HEAD_DIM = 256;
/** A full-attention layer's fused projection: queries and gates by turns, keys, values. */
const PROJECTION = 2 * HEADS * HEAD_DIM + 2 * 4 * HEAD_DIM;

function bench(
  variant: string,
  shape: string,
  operands: (device: Device) => Tensor[],
  work: Omit<KernelRun, 'run' | 'dispose'> & { run: (...tensors: Tensor[]) => void },
): KernelBench {
  return {
    name: 'elementwise',
    variant,
    shape,
    setup(device) {
      const tensors = operands(device);
      return {
        ...work,
        run: () => work.run(...tensors),
        dispose: () => {
          for (const tensor of tensors) device.dispose(tensor);
        },
      };
    },
  };
}

const hidden = (count: number) => (device: Device) =>
  Array.from({ length: count }, () => randomTensor(device, [TOKENS, DIM]));

function siluMulBench(tokens: number, dtype: 'f32' | 'f16'): KernelBench {
  const count = tokens * FF;
  return bench('silu_mul', `T=${tokens} F=${FF} ${dtype}`, (device) => [randomTensor(device, [tokens, 2 * FF])], {
    flops: 5 * count,
    bytes: count * (dtype === 'f16' ? 10 : 12),
    run: (gateUp) => void siluMul(gateUp!, dtype),
  });
}

/** The residual stream, the MLP and the attention gate of a Qwen3.5-4B prefill. */
export const benches: readonly KernelBench[] = [
  bench('add_scaled', `T=${TOKENS} D=${DIM}`, hidden(2), {
    flops: 3 * TOKENS * DIM,
    bytes: 12 * TOKENS * DIM,
    run: (a, b) => void addScaled(a!, b!, { scaleA: 1, scaleB: 0.5 }),
  }),
  bench('blend', `T=${TOKENS} D=${DIM}`, hidden(3), {
    flops: 10 * TOKENS * DIM,
    bytes: 16 * TOKENS * DIM,
    run: (s, a, b) => void blend(s!, a!, b!),
  }),
  bench('convert', `T=${TOKENS} D=${DIM} f32 to f16`, hidden(1), {
    flops: 0,
    bytes: 6 * TOKENS * DIM,
    run: (x) => void convert(x!, 'f16'),
  }),
  siluMulBench(1, 'f32'),
  siluMulBench(TOKENS, 'f32'),
  siluMulBench(TOKENS, 'f16'),
  bench(
    'sigmoid_gate',
    `T=${TOKENS} H=${HEADS} D=${HEAD_DIM} f16`,
    (device) => [randomTensor(device, [TOKENS, HEADS, HEAD_DIM]), randomTensor(device, [TOKENS, PROJECTION])],
    {
      flops: 5 * TOKENS * HEADS * HEAD_DIM,
      bytes: 10 * TOKENS * HEADS * HEAD_DIM,
      run: (a, projection) => {
        const view = {
          tokens: TOKENS,
          heads: HEADS,
          dim: HEAD_DIM,
          tokenStride: PROJECTION,
          headStride: 2 * HEAD_DIM,
          offset: HEAD_DIM,
        };
        sigmoidGate(a!, heads(projection!, view), 'f16');
      },
    },
  ),
];

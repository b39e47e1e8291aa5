import { gatedRmsNorm } from '../../src/kernels/gated_rms_norm.ts';
import { heads } from '../../src/kernels/heads.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

/** Value heads of a Qwen3.5-4B delta-net layer; z lies behind q, k, v in the fused projection q, k, v | z | b | a. */
const HEADS = 32;
const DIM = 128;
const OFFSET = 8192;
const STRIDE = 8192 + 4096 + 64;

function bench(dtype: 'f32' | 'f16', tokens: number): KernelBench {
  return {
    name: 'gated_rms_norm',
    variant: dtype,
    shape: `T=${tokens} H=${HEADS} D=${DIM}`,
    setup(device) {
      const o = randomTensor(device, [tokens, HEADS, DIM]);
      const weight = randomTensor(device, [DIM]);
      const projection = randomTensor(device, [tokens, STRIDE]);
      const z = heads(projection, { tokens, heads: HEADS, dim: DIM, tokenStride: STRIDE, offset: OFFSET });
      const elements = tokens * HEADS * DIM;
      return {
        flops: 10 * elements,
        bytes: elements * (dtype === 'f16' ? 10 : 12) + 4 * DIM,
        run: () => void gatedRmsNorm(o, weight, z, { eps: 1e-6, dtype }),
        dispose: () => {
          for (const tensor of [o, weight, projection]) device.dispose(tensor);
        },
      };
    },
  };
}

/** One decoding step and a prefill. */
export const benches: readonly KernelBench[] = [
  bench('f32', 1),
  bench('f16', 1),
  bench('f32', 2048),
  bench('f16', 2048),
];

import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { gatedRmsNorm } from '../../src/kernels/gated_rms_norm.ts';
import { heads } from '../../src/kernels/heads.ts';
import { gatedRmsNorm as gatedRmsNormReference } from '../../test/reference/gated_rms_norm.ts';

/** Value heads of a Qwen3.5-4B delta-net layer; z lies behind q, k, v in the fused projection q, k, v | z | b | a. */
const HEADS = 32;
const DIM = 128;
const OFFSET = 8192;
const STRIDE = 8192 + 4096 + 64;

function bench(dtype: 'f32' | 'f16', tokens: number): KernelBench {
  return kernelBench({
    name: 'gated_rms_norm',
    variant: dtype,
    sizes: tokens,
    reduced: Math.min(tokens, 5),
    describe: (tokens) => `T=${tokens} H=${HEADS} D=${DIM}`,
    setup: (device, tokens) => {
      const o = randomTensor(device, [tokens, HEADS, DIM]);
      const weight = randomTensor(device, [DIM]);
      const projection = randomTensor(device, [tokens, STRIDE]);
      const z = heads(projection, { tokens, heads: HEADS, dim: DIM, tokenStride: STRIDE, offset: OFFSET });
      return {
        operands: [o, weight, projection],
        run: () => gatedRmsNorm(o, weight, z, { eps: 1e-6, dtype }),
        expected: async () => {
          const rows = await floatValues(projection);
          const zs = rows.filter((_, i) => i % STRIDE >= OFFSET && i % STRIDE < OFFSET + HEADS * DIM);
          return gatedRmsNormReference(await floatValues(o), await floatValues(weight), zs, 1e-6);
        },
      };
    },
  });
}

/** One decoding step and a prefill. */
export const benches: readonly KernelBench[] = [
  bench('f32', 1),
  bench('f16', 1),
  bench('f32', 2048),
  bench('f16', 2048),
];

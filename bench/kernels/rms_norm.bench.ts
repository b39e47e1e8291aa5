import { rmsNorm } from '../../src/kernels/rms_norm.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const DIM = 2560;

function bench(dtype: 'f32' | 'f16', tokens: number): KernelBench {
  return {
    name: 'rms_norm',
    variant: dtype,
    shape: `T=${tokens} D=${DIM}`,
    setup(device) {
      const x = randomTensor(device, [tokens, DIM]);
      const weight = randomTensor(device, [DIM]);
      return {
        flops: 5 * tokens * DIM,
        bytes: tokens * DIM * (dtype === 'f16' ? 6 : 8) + 4 * DIM,
        run: () => void rmsNorm(x, weight, { eps: 1e-6, weightOffset: 1, dtype }),
        dispose: () => {
          for (const tensor of [x, weight]) device.dispose(tensor);
        },
      };
    },
  };
}

/** The input norm of a Qwen3.5-4B layer: one decoding step and a prefill. */
export const benches: readonly KernelBench[] = [
  bench('f32', 1),
  bench('f16', 1),
  bench('f32', 2048),
  bench('f16', 2048),
];

import { layerNorm } from '../../src/kernels/layer_norm.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const DIM = 1024;

function bench(dtype: 'f32' | 'f16', tokens: number): KernelBench {
  return {
    name: 'layer_norm',
    variant: dtype,
    shape: `T=${tokens} D=${DIM}`,
    setup(device) {
      const x = randomTensor(device, [tokens, DIM]);
      const weight = randomTensor(device, [DIM]);
      const bias = randomTensor(device, [DIM]);
      return {
        flops: 7 * tokens * DIM,
        bytes: tokens * DIM * (dtype === 'f16' ? 6 : 8) + 8 * DIM,
        run: () => void layerNorm(x, { weight, bias, eps: 1e-5, dtype }),
        dispose: () => {
          for (const tensor of [x, weight, bias]) device.dispose(tensor);
        },
      };
    },
  };
}

/** A block of VGGT-1B for 8 frames of 518x392. */
export const benches: readonly KernelBench[] = [bench('f32', 8 * 1041), bench('f16', 8 * 1041)];

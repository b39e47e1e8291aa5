import { linear, MATMUL_VARIANTS, type MatmulVariant, matmulSupports, swiglu } from '../../src/kernels/matmul.ts';
import { type KernelBench, randomTensor, SkippedBench } from '../harness.ts';

/** [M, N, K] of Qwen3.5-4B: gate and up, down, the delta-net's input projection; and a square one that other libraries quote. */
const PREFILL = [
  [512, 18432, 2560],
  [2048, 18432, 2560],
  [2048, 2560, 9216],
  [4096, 4096, 4096],
] as const;
const DECODE = [
  [1, 18432, 2560],
  [1, 2560, 9216],
  [1, 12352, 2560],
  [1, 248320, 2560],
] as const;

function matmulBench(variant: MatmulVariant, [m, n, k]: readonly [number, number, number]): KernelBench {
  const xDtype = variant === 'subgroup_matrix' ? 'f16' : 'f32';
  return {
    name: 'matmul',
    variant,
    shape: `${m}x${n}x${k} bf16 weights`,
    setup(device) {
      const x = randomTensor(device, [m, k], xDtype);
      const w = randomTensor(device, [n, k], 'bf16');
      if (!matmulSupports(device, variant, { m, k, dtype: x.dtype }))
        throw new SkippedBench(`${device.opened.name} cannot do this variant`);
      return {
        flops: 2 * m * n * k,
        bytes: m * k * (xDtype === 'f16' ? 2 : 4) + n * k * 2 + m * n * 4,
        run: () => void linear(x, w, { variant }),
        dispose: () => {
          for (const tensor of [x, w]) device.dispose(tensor);
        },
      };
    },
  };
}

/** The first half of an MLP while decoding: norm, both products and the gate in one. */
function swigluBench(n: number, k: number): KernelBench {
  return {
    name: 'matmul',
    variant: 'matvec swiglu',
    shape: `1x${n}x${k} bf16 weights`,
    setup(device) {
      const x = randomTensor(device, [1, k]);
      const w = randomTensor(device, [n, k], 'bf16');
      const weight = randomTensor(device, [k]);
      const norm = { weight, eps: 1e-6, weightOffset: 1, dtype: 'f32' } as const;
      return {
        flops: 2 * n * k,
        bytes: n * k * 2 + 8 * k + n * 2,
        run: () => void swiglu(x, w, { norm, dtype: 'f32', scale: 1 }),
        dispose: () => {
          for (const tensor of [x, w, weight]) device.dispose(tensor);
        },
      };
    },
  };
}

/** Every rung at prefill shapes, and the matrix-vector product at decoding shapes. */
export const benches: readonly KernelBench[] = [
  ...MATMUL_VARIANTS.filter((variant) => variant !== 'matvec').flatMap((variant) =>
    PREFILL.map((shape) => matmulBench(variant, shape)),
  ),
  ...DECODE.map((shape) => matmulBench('matvec', shape)),
  swigluBench(18432, 2560),
];

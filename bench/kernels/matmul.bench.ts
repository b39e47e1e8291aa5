import { type KernelBench, kernelBench, randomTensor, SkippedBench } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { toBlocks } from '../../src/kernels/blocks.ts';
import { linear, type MatmulVariant, matmulSupports } from '../../src/kernels/matmul.ts';
import { swiglu } from '../../src/kernels/swiglu.ts';
import { siluMul } from '../../test/reference/elementwise.ts';
import { linearReference } from '../../test/reference/matmul.ts';
import { rmsNorm } from '../../test/reference/rms_norm.ts';

type Sizes = readonly [m: number, n: number, k: number];

/** [N, K] of the products of Qwen3.5-4B: gate and up; down; a delta net's q, k, v, z, b, a; an attention's q, gate, k, v; either's output; the head. */
const GATE_UP = [18432, 2560] as const;
const DOWN = [2560, 9216] as const;
const DELTA = [12352, 2560] as const;
const ATTENTION = [10240, 2560] as const;
const OUTPUT = [2560, 4096] as const;
const HEAD = [248320, 2560] as const;

/** A square one that other libraries quote, and the model's own while it reads a prompt; few workgroups for a short one. */
const PREFILL: readonly Sizes[] = [
  [4096, 4096, 4096],
  [128, ...DOWN],
  [128, ...OUTPUT],
  ...[512, 2048, 8192].flatMap((m) => [GATE_UP, DOWN, DELTA, ATTENTION, OUTPUT].map((shape) => [m, ...shape] as const)),
];
/** The slow rungs are there to be read about: they need not be waited for at every size. */
const FOR_SLOW_RUNGS: readonly Sizes[] = [PREFILL[0]!, [512, ...GATE_UP], [2048, ...DOWN]];
const DECODE: readonly Sizes[] = [GATE_UP, DOWN, DELTA, ATTENTION, OUTPUT, HEAD].map((shape) => [1, ...shape]);

function describe([m, n, k]: Sizes): string {
  return `${m}x${n}x${k} bf16 weights`;
}

/** Few enough products for a CPU, wide where the original is, so that the same tiles are taken; the last ones are left part empty. */
function reduced([m, n, k]: Sizes): Sizes {
  if (m === 1) return n >= 8192 ? [m, 8200, 520] : [m, 200, Math.min(k, 2560)];
  return n >= 4096 ? [70, 10400, 136] : [70, 200, Math.min(k, 2560)];
}

/** A weight as checkpoints hold it, in rows; on the fifth rung the time to bring both operands into blocks is part of it. */
function matmulBench(variant: MatmulVariant, sizes: Sizes): KernelBench {
  return kernelBench<Sizes>({
    name: 'matmul',
    variant,
    sizes,
    reduced: variant === 'blocked_matrix' ? [70, 10400, 160] : reduced(sizes),
    describe,
    setup: (device, [m, n, k]) => {
      const isBlocked = variant === 'blocked_matrix';
      const dtype = isBlocked || variant === 'subgroup_matrix' ? 'f16' : 'f32';
      if (!matmulSupports(device, variant, { m, n, k, dtype: isBlocked ? 'f16_blocks' : dtype })) {
        throw new SkippedBench('this variant needs features that the device lacks');
      }
      const x = randomTensor(device, [m, k], dtype);
      const w = randomTensor(device, [n, k], 'bf16');
      return {
        operands: [x, w],
        run: () => linear(x, w, { variant }),
        expected: async () => linearReference(await floatValues(x), await floatValues(w), [m, n, k]),
      };
    },
  });
}

/** What VGGT multiplies over 32 frames, and for one of 224x224: q, k, v; attention's output; the MLP's two layers. */
const VGGT: readonly Sizes[] = [
  PREFILL[0]!,
  ...[[3072, 1024] as const, [1024, 1024] as const, [4096, 1024] as const, [1024, 4096] as const].map(
    (shape) => [33312, ...shape] as const,
  ),
  [261, 1024, 1024],
];

/** Weights that are f16 already, in rows and in blocks. */
function halfBench(variant: 'subgroup_matrix' | 'blocked_matrix', sizes: Sizes): KernelBench {
  return kernelBench<Sizes>({
    name: 'matmul',
    variant,
    sizes,
    reduced: [70, sizes[1] >= 3072 ? 10400 : 200, 160],
    describe: ([m, n, k]) => `${m}x${n}x${k} f16 weights`,
    setup: (device, [m, n, k]) => {
      if (!device.multipliesMatrices) throw new SkippedBench('this variant needs features that the device lacks');
      const [x, w] = [randomTensor(device, [m, k], 'f16'), randomTensor(device, [n, k], 'f16')];
      const isBlocked = variant === 'blocked_matrix';
      const blocks = isBlocked
        ? ([device.pooled([m, k], 'f16_blocks'), device.pooled([n, k], 'f16_blocks')] as const)
        : [];
      for (const [i, block] of blocks.entries()) toBlocks([x, w][i]!, block);
      const [left, right] = isBlocked ? blocks : [x, w];
      return {
        operands: [x, w, ...blocks],
        run: () => linear(left!, right!, { variant, dtype: 'f16' }),
        expected: async () => linearReference(await floatValues(x), await floatValues(w), [m, n, k]),
      };
    },
  });
}

/** The first half of an MLP while decoding: norm, both products and the gate in one. */
function swigluBench(sizes: Sizes): KernelBench {
  return kernelBench<Sizes>({
    name: 'matmul',
    variant: 'matvec swiglu',
    sizes,
    reduced: reduced(sizes),
    describe,
    setup: (device, [m, n, k]) => {
      const x = randomTensor(device, [m, k]);
      const w = randomTensor(device, [n, k], 'bf16', 0.1);
      const weight = randomTensor(device, [k]);
      const norm = { weight, eps: 1e-6, weightOffset: 1, dtype: 'f32' } as const;
      return {
        operands: [x, w, weight],
        run: () => swiglu(x, w, { norm, dtype: 'f32', scale: 1 }),
        expected: async () => {
          const normed = Float32Array.from(rmsNorm(await floatValues(x), await floatValues(weight), norm.eps, 1));
          return siluMul(linearReference(normed, await floatValues(w), [m, n, k]), n / 2);
        },
      };
    },
  });
}

/** Every rung at prefill shapes, and the matrix-vector product at decoding shapes. */
export const benches: readonly KernelBench[] = [
  ...(['naive', 'tiled'] as const).flatMap((variant) => FOR_SLOW_RUNGS.map((sizes) => matmulBench(variant, sizes))),
  ...(['register', 'subgroup_matrix'] as const).flatMap((variant) =>
    PREFILL.map((sizes) => matmulBench(variant, sizes)),
  ),
  ...PREFILL.filter(([m]) => m >= 2048).map((sizes) => matmulBench('blocked_matrix', sizes)),
  ...(['subgroup_matrix', 'blocked_matrix'] as const).flatMap((variant) =>
    VGGT.map((sizes) => halfBench(variant, sizes)),
  ),
  ...DECODE.map((sizes) => matmulBench('matvec', sizes)),
  swigluBench([1, ...GATE_UP]),
];

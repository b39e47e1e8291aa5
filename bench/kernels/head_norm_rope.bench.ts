import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { headNormRope } from '../../src/kernels/head_norm_rope.ts';
import { heads } from '../../src/kernels/heads.ts';
import { rope } from '../../test/reference/head_norm_rope.ts';
import { headIndices } from '../../test/reference/heads.ts';
import { layerNorm } from '../../test/reference/layer_norm.ts';
import { rmsNorm } from '../../test/reference/rms_norm.ts';

interface Layer {
  readonly variant: string;
  readonly dtype: 'f32' | 'f16';
  readonly tokens: number;
  readonly heads: number;
  readonly dim: number;
  /** Elements of one token's row in the projection that the heads come from, and between two heads. */
  readonly tokenStride: number;
  readonly headStride: number;
  readonly norm?: 'rms' | 'layer';
  readonly half: number;
  readonly blocks: number;
}

/** Qwen3.5-4B queries (each followed by its gate), its vision tower's, and VGGT-1B's for 8 frames of 518x392. */
const text = {
  variant: 'rms',
  dtype: 'f32',
  heads: 16,
  dim: 256,
  tokenStride: 10240,
  headStride: 512,
  norm: 'rms',
  half: 32,
  blocks: 1,
} as const;
const vision = {
  variant: 'rope alone',
  dtype: 'f16',
  tokens: 4096,
  heads: 16,
  dim: 64,
  tokenStride: 3072,
  headStride: 64,
  half: 32,
  blocks: 1,
} as const;
const vggt = { ...vision, variant: 'layer', tokens: 8 * 1041, norm: 'layer', half: 16, blocks: 2 } as const;

const EPS = 1e-6;

function bench(layer: Layer): KernelBench {
  return kernelBench<Layer>({
    name: 'head_norm_rope',
    variant: layer.variant,
    sizes: layer,
    reduced: { ...layer, tokens: Math.min(layer.tokens, 5) },
    describe: ({ tokens, heads, dim, dtype }) => `T=${tokens} H=${heads} D=${dim} ${dtype} to f16`,
    setup: (device, { tokens, heads: count, dim, tokenStride, headStride, norm, half, blocks, dtype }) => {
      const projection = randomTensor(device, [tokens, tokenStride], dtype);
      const target = device.tensor([tokens, count, dim], 'f16');
      const angles = Float32Array.from({ length: tokens * blocks * half }, () => 6 * Math.random());
      const turns = Float32Array.from({ length: 2 * angles.length }, (_, i) =>
        i % 2 === 0 ? Math.cos(angles[i >> 1]!) : Math.sin(angles[i >> 1]!),
      );
      const table = device.upload(turns, [tokens, blocks * half, 2], 'f32');
      const weight = randomTensor(device, [dim]);
      const view = { tokens, heads: count, dim, tokenStride, headStride };
      const output = heads(target, { tokens, heads: count, dim, tokenStride: count * dim });
      return {
        operands: [projection, target, table, weight],
        run: () => {
          headNormRope(heads(projection, view), output, {
            rope: { table, half, blocks },
            ...(norm === undefined ? {} : { norm: { kind: norm, weight, bias: weight, eps: EPS } }),
          });
          return target;
        },
        expected: async () => {
          const [rows, w] = [await floatValues(projection), await floatValues(weight)];
          const vectors = headIndices({ ...view, offset: 0 }).map((i) => rows[i]!);
          const normed =
            norm === undefined
              ? Float64Array.from(vectors)
              : norm === 'layer'
                ? layerNorm(vectors, dim, EPS, w, w)
                : rmsNorm(vectors, w, EPS, 0).map((value, i) => value + w[i % dim]!);
          return rope(normed, [tokens, count, dim], angles, half, blocks);
        },
      };
    },
  });
}

/** Queries of the models' attention layers. */
export const benches: readonly KernelBench[] = [
  bench({ ...text, tokens: 1 }),
  bench({ ...text, tokens: 2048 }),
  bench(vision),
  bench(vggt),
];

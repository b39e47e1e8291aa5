import { type KernelBench, kernelBench, randomTensor, SkippedBench } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import {
  ATTENTION_VARIANTS,
  type AttentionVariant,
  attention,
  attentionSupports,
  attentionWork,
} from '../../src/kernels/attention.ts';
import { cachedAttention } from '../../src/kernels/cached_attention.ts';
import { heads } from '../../src/kernels/heads.ts';
import { attentionReference } from '../../test/reference/attention.ts';
import { sigmoidGate } from '../../test/reference/elementwise.ts';
import { rope } from '../../test/reference/head_norm_rope.ts';
import { rmsNorm } from '../../test/reference/rms_norm.ts';

interface Shape {
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly causal: boolean;
}

/** VGGT's global attention and the vision tower; Qwen3.5-4B's prefill and decode. */
const SHAPES: readonly Shape[] = [
  { queries: 8192, keys: 8192, heads: 16, kvHeads: 16, dim: 64, causal: false },
  { queries: 4096, keys: 4096, heads: 16, kvHeads: 4, dim: 256, causal: true },
  { queries: 16384, keys: 16384, heads: 16, kvHeads: 4, dim: 256, causal: true },
  { queries: 1, keys: 512, heads: 16, kvHeads: 4, dim: 256, causal: true },
  { queries: 1, keys: 32768, heads: 16, kvHeads: 4, dim: 256, causal: true },
];

/** Few enough scores for a CPU, in tiles of which the last is not full; a long context stays long enough to be cut up as one. */
function reducedShape({ queries, keys, heads, kvHeads, ...rest }: Shape): Shape {
  const few = { ...rest, heads: heads / kvHeads, kvHeads: 1 };
  if (queries > 1) return { ...few, queries: 80, keys: 80 };
  return { ...few, queries, keys: keys > 16384 ? 16500 : 300 };
}

function describe({ queries, keys, heads, kvHeads, dim, causal }: Shape): string {
  return `${queries}x${keys}, ${heads}/${kvHeads} heads of ${dim}${causal ? ', causal' : ''}`;
}

function bench(variant: AttentionVariant, shape: Shape): KernelBench {
  return kernelBench({
    name: 'attention',
    variant,
    sizes: shape,
    reduced: reducedShape(shape),
    describe,
    setup: (device, { queries, keys, heads: count, kvHeads, dim, causal }) => {
      const view = (tokens: number, width: number) => {
        const tensor = randomTensor(device, [tokens, width * dim], 'f16');
        return heads(tensor, { tokens, heads: width, dim, tokenStride: width * dim });
      };
      const [q, k, v] = [view(queries, count), view(keys, kvHeads), view(keys, kvHeads)];
      const operands = [q, k, v].map(({ tensor }) => tensor);
      if (!attentionSupports(variant, q, k, v)) {
        for (const tensor of operands) device.dispose(tensor);
        throw new SkippedBench('this variant needs features that the device lacks');
      }
      const options = { causal, dtype: 'f16', variant } as const;
      return {
        operands,
        work: attentionWork(q, k, options),
        run: () => attention(q, k, v, options),
        expected: async () => {
          const [qs, ks, vs] = await Promise.all(operands.map(floatValues));
          const sizes = { heads: count, kvHeads, dim, segments: 1, scale: 1 / Math.sqrt(dim), causal };
          return attentionReference({ q: qs!, k: ks!, v: vs!, ...sizes });
        },
      };
    },
  });
}

/** One token of a decoder's attention layer between its projections: norms, rotary embedding, cache and gate (kernels/cached_attention.ts). */
function stepBench(shape: Shape): KernelBench {
  return kernelBench({
    name: 'attention',
    variant: 'step',
    sizes: shape,
    reduced: reducedShape(shape),
    describe,
    setup: (device, { keys, heads: count, kvHeads, dim }) => {
      const width = kvHeads * dim;
      const stride = 2 * count * dim + 2 * width;
      const row = randomTensor(device, [1, stride]);
      const cache = {
        k: randomTensor(device, [keys, kvHeads, dim], 'f16'),
        v: randomTensor(device, [keys, kvHeads, dim], 'f16'),
      };
      const weight = randomTensor(device, [dim]);
      const half = dim / 8;
      const turns = Float32Array.from({ length: 2 * half }, (_, i) => (i % 2 === 0 ? Math.cos(i) : Math.sin(i - 1)));
      const table = device.upload(turns, [1, half, 2], 'f32');
      const view = (number: number, offset: number, headStride = dim) =>
        heads(row, { tokens: 1, heads: number, dim, tokenStride: stride, headStride, offset });
      const norm = { kind: 'rms', weight, eps: 1e-6, weightOffset: 1 } as const;
      const projected = {
        query: view(count, 0, 2 * dim),
        gate: view(count, dim, 2 * dim),
        key: view(kvHeads, 2 * count * dim),
        value: view(kvHeads, 2 * count * dim + width),
      };
      const options = {
        qNorm: norm,
        kNorm: norm,
        rope: { table, half, blocks: 1 },
        total: keys,
        dtype: 'f16',
      } as const;
      return {
        operands: [row, cache.k, cache.v, weight, table],
        work: { flops: 4 * keys * count * dim, bytes: 4 * keys * width + row.byteLength + 2 * count * dim },
        run: () => cachedAttention(projected, cache, options),
        expected: async () => {
          const [values, k, v, w] = await Promise.all([row, cache.k, cache.v, weight].map(floatValues));
          const taken = (number: number, offset: number, headStride: number) =>
            Float64Array.from(
              { length: number * dim },
              (_, i) => values![offset + Math.floor(i / dim) * headStride + (i % dim)]!,
            );
          const angles = Array.from({ length: half }, (_, j) => 2 * j);
          const turned = (vectors: Float64Array, number: number) =>
            Float32Array.from(
              rope(Float64Array.from(rmsNorm(vectors, w!, 1e-6, 1)), [1, number, dim], angles, half, 1),
            );
          k!.set(turned(taken(kvHeads, 2 * count * dim, dim), kvHeads), (keys - 1) * width);
          v!.set(taken(kvHeads, 2 * count * dim + width, dim), (keys - 1) * width);
          const q = turned(taken(count, 0, 2 * dim), count);
          const sizes = { heads: count, kvHeads, dim, segments: 1, scale: 1 / Math.sqrt(dim), causal: true };
          return sigmoidGate(attentionReference({ q, k: k!, v: v!, ...sizes }), taken(count, dim, 2 * dim));
        },
      };
    },
  });
}

/** Every rung where it applies: one query for `decode`, many for the others; and a decoding step with all that belongs to it. */
export const benches: readonly KernelBench[] = [
  ...ATTENTION_VARIANTS.flatMap((variant) =>
    SHAPES.filter(({ queries }) => (queries === 1) === (variant === 'decode')).map((shape) => bench(variant, shape)),
  ),
  stepBench(SHAPES[3]!),
  stepBench(SHAPES[4]!),
];

import { type KernelBench, kernelBench, randomTensor, SkippedBench } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import {
  ATTENTION_VARIANTS,
  type AttentionVariant,
  attention,
  attentionSupports,
  attentionWork,
} from '../../src/kernels/attention.ts';
import { heads } from '../../src/kernels/heads.ts';
import { attentionReference } from '../../test/reference/attention.ts';

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

/** Every rung where it applies: one query for `decode`, many for the others. */
export const benches: readonly KernelBench[] = ATTENTION_VARIANTS.flatMap((variant) =>
  SHAPES.filter(({ queries }) => (queries === 1) === (variant === 'decode')).map((shape) => bench(variant, shape)),
);

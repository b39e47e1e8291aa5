import {
  ATTENTION_VARIANTS,
  type AttentionVariant,
  attention,
  attentionSupports,
} from '../../src/kernels/attention.ts';
import { heads } from '../../src/kernels/heads.ts';
import { type KernelBench, randomTensor, SkippedBench } from '../harness.ts';

interface Shape {
  readonly what: string;
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly causal: boolean;
}

const SHAPES: readonly Shape[] = [
  { what: 'VGGT global, vision', queries: 8192, keys: 8192, heads: 16, kvHeads: 16, dim: 64, causal: false },
  { what: 'Qwen3.5-4B prefill', queries: 4096, keys: 4096, heads: 16, kvHeads: 4, dim: 256, causal: true },
  { what: 'Qwen3.5-4B decode', queries: 1, keys: 512, heads: 16, kvHeads: 4, dim: 256, causal: true },
  { what: 'Qwen3.5-4B decode', queries: 1, keys: 32768, heads: 16, kvHeads: 4, dim: 256, causal: true },
];

function bench(variant: AttentionVariant, shape: Shape): KernelBench {
  const { queries, keys, dim, causal } = shape;
  return {
    name: 'attention',
    variant,
    shape: `${shape.what}: ${queries}x${keys}, ${shape.heads}/${shape.kvHeads} heads of ${dim}${causal ? ', causal' : ''}`,
    setup(device) {
      const make = (tokens: number, count: number) => {
        const tensor = randomTensor(device, [tokens, count * dim], 'f16');
        return heads(tensor, { tokens, heads: count, dim, tokenStride: count * dim });
      };
      const operands = [make(queries, shape.heads), make(keys, shape.kvHeads), make(keys, shape.kvHeads)] as const;
      if (!attentionSupports(variant, ...operands))
        throw new SkippedBench(`${device.opened.name} cannot do this variant`);
      const pairs = causal ? queries * (keys - (queries - 1) / 2) : queries * keys;
      return {
        flops: 4 * pairs * shape.heads * dim,
        bytes: 2 * dim * (2 * queries * shape.heads + 2 * keys * shape.kvHeads),
        run: () => void attention(...operands, { causal, dtype: 'f16', variant }),
        dispose: () => {
          for (const { tensor } of operands) device.dispose(tensor);
        },
      };
    },
  };
}

/** Every rung where it applies: one query for `decode`, many for the others. */
export const benches: readonly KernelBench[] = ATTENTION_VARIANTS.flatMap((variant) =>
  SHAPES.filter(({ queries }) => (queries === 1) === (variant === 'decode')).map((shape) => bench(variant, shape)),
);

import { headNormRope } from '../../src/kernels/head_norm_rope.ts';
import { heads } from '../../src/kernels/heads.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

interface Layer {
  readonly variant: string;
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
  tokens: 4096,
  heads: 16,
  dim: 64,
  tokenStride: 3072,
  headStride: 64,
  half: 32,
  blocks: 1,
} as const;
const vggt = { ...vision, variant: 'layer', tokens: 8 * 1041, norm: 'layer', half: 16, blocks: 2 } as const;

function bench(layer: Layer): KernelBench {
  const { variant, tokens, heads: count, dim, tokenStride, headStride, norm, half, blocks } = layer;
  return {
    name: 'head_norm_rope',
    variant,
    shape: `T=${tokens} H=${count} D=${dim} f16`,
    setup(device) {
      const projection = randomTensor(device, [tokens, tokenStride]);
      const target = device.tensor([tokens, count, dim], 'f16');
      const table = randomTensor(device, [tokens, blocks * half, 2]);
      const weight = randomTensor(device, [dim]);
      const input = heads(projection, { tokens, heads: count, dim, tokenStride, headStride });
      const output = heads(target, { tokens, heads: count, dim, tokenStride: count * dim });
      const elements = tokens * count * dim;
      return {
        flops: 8 * elements,
        bytes: 6 * elements + table.byteLength,
        run: () =>
          headNormRope(input, output, {
            rope: { table, half, blocks },
            ...(norm === undefined ? {} : { norm: { kind: norm, weight, bias: weight, eps: 1e-6 } }),
          }),
        dispose: () => {
          for (const tensor of [projection, target, table, weight]) device.dispose(tensor);
        },
      };
    },
  };
}

/** Queries of the models' attention layers. */
export const benches: readonly KernelBench[] = [
  bench({ ...text, tokens: 1 }),
  bench({ ...text, tokens: 2048 }),
  bench(vision),
  bench(vggt),
];

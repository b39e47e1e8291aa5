import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { embedding } from '../../src/kernels/embedding.ts';
import { embedding as embeddingReference } from '../../test/reference/embedding.ts';

const DIM = 2560;

interface Shape {
  readonly tokens: number;
  readonly vocabulary: number;
}

function bench(tokens: number): KernelBench {
  return kernelBench<Shape>({
    name: 'embedding',
    variant: 'bf16',
    sizes: { tokens, vocabulary: 248320 },
    reduced: { tokens: Math.min(tokens, 20), vocabulary: 1000 },
    describe: ({ tokens, vocabulary }) => `T=${tokens} V=${vocabulary} D=${DIM}`,
    setup: (device, { tokens, vocabulary }) => {
      const table = randomTensor(device, [vocabulary, DIM], 'bf16');
      const spread = Int32Array.from({ length: tokens }, (_, t) => (t * 7919) % vocabulary);
      const ids = device.upload(spread, [tokens], 'i32');
      return {
        operands: [ids, table],
        run: () => embedding(ids, table),
        expected: async () => embeddingReference(spread, await floatValues(table), DIM),
      };
    },
  });
}

/** Qwen3.5-4B: one decoding step and a prefill. */
export const benches: readonly KernelBench[] = [bench(1), bench(2048)];

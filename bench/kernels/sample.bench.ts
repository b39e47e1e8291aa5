import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { type SamplingOptions, sampleToken } from '../../src/kernels/sample.ts';
import { sampleReference } from '../../test/reference/sample.ts';

interface Sizes {
  readonly vocabulary: number;
  readonly temperature: number;
}

const OFF: SamplingOptions = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  seed: 1,
};

/** Qwen3.5's vocabulary. At the reduced size the temperature is so low that only the likeliest token can be drawn. */
function bench(variant: string, options: Partial<SamplingOptions>): KernelBench {
  return kernelBench<Sizes>({
    name: 'sample',
    variant,
    sizes: { vocabulary: 248320, temperature: 1 },
    reduced: { vocabulary: 5000, temperature: 1e-5 },
    describe: ({ vocabulary }) => `V=${vocabulary}`,
    setup: (device, { vocabulary, temperature }) => {
      const logits = randomTensor(device, [1, vocabulary], 'f32', 10);
      const history = device.clear(device.tensor([vocabulary], 'u32'));
      const all = { ...OFF, ...options, temperature };
      const cursor = device.clear(device.tensor([2], 'u32'));
      return {
        operands: [logits, history, cursor],
        work: { flops: 0, bytes: 8 * vocabulary },
        run: () => sampleToken(logits, { options: all, cursor, history }),
        expected: async () => [sampleReference(await floatValues(logits), all).greedy],
      };
    },
  });
}

/** Without filters, and as Qwen3.5's model card advises. */
export const benches: readonly KernelBench[] = [
  bench('temperature', {}),
  bench('top-k top-p', { topK: 20, topP: 0.95, presencePenalty: 1.5 }),
];

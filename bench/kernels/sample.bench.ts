import { type SamplingOptions, sampleToken } from '../../src/kernels/sample.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

/** Qwen3.5's vocabulary. */
const VOCABULARY = 248320;
const OFF: SamplingOptions = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  seed: 1,
};

function bench(variant: string, options: Partial<SamplingOptions>): KernelBench {
  return {
    name: 'sample',
    variant,
    shape: `V=${VOCABULARY}`,
    setup(device) {
      const logits = randomTensor(device, [1, VOCABULARY], 'f32', 10);
      const history = device.clear(device.tensor([VOCABULARY], 'u32'));
      let step = 0;
      return {
        flops: 0,
        bytes: 8 * VOCABULARY,
        run: () => void sampleToken(logits, { options: { ...OFF, ...options }, step: step++, history }),
        dispose: () => {
          for (const tensor of [logits, history]) device.dispose(tensor);
        },
      };
    },
  };
}

/** Without filters, and as Qwen3.5's model card advises. */
export const benches: readonly KernelBench[] = [
  bench('temperature', {}),
  bench('top-k top-p', { topK: 20, topP: 0.95, presencePenalty: 1.5 }),
];

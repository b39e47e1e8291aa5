import { embedding } from '../../src/kernels/embedding.ts';
import { type KernelBench, randomTensor } from '../harness.ts';

const VOCABULARY = 248320;
const DIM = 2560;

function bench(tokens: number): KernelBench {
  return {
    name: 'embedding',
    variant: 'bf16',
    shape: `T=${tokens} V=${VOCABULARY} D=${DIM}`,
    setup(device) {
      const table = randomTensor(device, [VOCABULARY, DIM], 'bf16');
      const spread = Int32Array.from({ length: tokens }, (_, t) => (t * 7919) % VOCABULARY);
      const ids = device.upload(spread, [tokens], 'i32');
      return {
        flops: 0,
        bytes: tokens * (4 + 6 * DIM),
        run: () => void embedding(ids, table),
        dispose: () => {
          for (const tensor of [ids, table]) device.dispose(tensor);
        },
      };
    },
  };
}

/** Qwen3.5-4B: one decoding step and a prefill. */
export const benches: readonly KernelBench[] = [bench(1), bench(2048)];

import { expect, test } from 'vitest';
import { attention, attentionWork } from '../../src/kernels/attention.ts';
import { gatedDeltaWork } from '../../src/kernels/gated_delta.ts';
import { heads } from '../../src/kernels/heads.ts';
import { linear } from '../../src/kernels/matmul.ts';
import { rmsNorm } from '../../src/kernels/rms_norm.ts';
import { DryDevice } from '../../src/tensor/dry_device.ts';
import { useDevice } from '../device.ts';

const device = useDevice();

/** What a device that computes nothing was asked to do. */
function recorded(record: (dry: DryDevice) => void) {
  const dry = new DryDevice(device().opened);
  record(dry);
  return dry.take();
}

test('a product counts two operations a multiply-add, and each operand once', () => {
  const { work, kernels } = recorded((dry) => linear(dry.tensor([5, 64]), dry.tensor([48, 64], 'bf16')));
  expect(work).toEqual({ flops: 2 * 5 * 48 * 64, bytes: 4 * 5 * 64 + 2 * 48 * 64 + 4 * 5 * 48 });
  expect(kernels).toEqual(['matmul/register']);
});

test('a residual and a bias are read as well', () => {
  const plain = recorded((dry) => linear(dry.tensor([5, 64]), dry.tensor([48, 64], 'bf16')));
  const more = recorded((dry) => {
    const options = { bias: dry.tensor([48]), residual: dry.tensor([5, 48]) };
    linear(dry.tensor([5, 64]), dry.tensor([48, 64], 'bf16'), options);
  });
  expect(more.work.bytes - plain.work.bytes).toBe(4 * 48 + 4 * 5 * 48);
});

test('without a statement every binding counts once', () => {
  const { work } = recorded((dry) => rmsNorm(dry.tensor([3, 64]), dry.tensor([64]), { eps: 1e-6, weightOffset: 0 }));
  expect(work).toEqual({ flops: 5 * 3 * 64, bytes: 4 * (3 * 64 + 64 + 3 * 64) });
});

test('attention counts the pairs that see each other, and only the keys in use of a cache', () => {
  const { work } = recorded((dry) => {
    const view = (tokens: number, count: number, capacity: number) =>
      heads(dry.tensor([capacity, count * 32], 'f16'), { tokens, heads: count, dim: 32, tokenStride: count * 32 });
    const [q, k] = [view(4, 2, 4), view(10, 1, 1000)];
    attention(q, k, view(10, 1, 1000), { causal: true, variant: 'flash' });
    expect(attentionWork(q, k, { causal: true }).flops).toBe(4 * (7 + 8 + 9 + 10) * 2 * 32);
  });
  expect(work.flops).toBe(4 * (7 + 8 + 9 + 10) * 2 * 32);
  expect(work.bytes).toBe(2 * (4 * 2 * 32) + 4 * (4 * 2 * 32) + 2 * (2 * 10 * 32));
});

test('the delta rule passes over its state three times a token', () => {
  const { flops } = gatedDeltaWork(10, { keyHeads: 2, valueHeads: 4, keyDim: 8, valueDim: 16 });
  expect(flops).toBe(10 * 3 * 2 * 4 * 8 * 16);
});

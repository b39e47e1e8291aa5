import { grid } from '../tensor/device.ts';
import { DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape } from './checks.ts';

/** What becomes of all outputs but the last: exp(z), or sign(z) * (exp(|z|) - 1). */
export type DenseActivation = 'exp' | 'inv_log';

/** Outputs of a pixel: few enough that one thread keeps them. */
const MOST_OUTPUTS = 16;

/**
 * The end of a dense prediction head: a 1x1 convolution with bias of x [S, H, W, C] f32 by weight [O, C, 1, 1] (f32, f16 or bf16), all channels
 * but the last through `activation`, the last, a confidence, through 1 + exp(z). Results [S, H, W, O - 1] and [S, H, W], f32. C is a multiple
 * of 4. @throws KernelError
 */
export function denseOutput(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  activation: DenseActivation,
): [value: Tensor, confidence: Tensor] {
  expectDtype('denseOutput', 'x', x, 'f32');
  expectDtype('denseOutput', 'the weight', weight, 'f32', 'f16', 'bf16');
  const channels = x.dim(-1);
  const outputs = weight.dim(0);
  if (weight.size !== outputs * channels || channels % 4 !== 0 || outputs < 2 || outputs > MOST_OUTPUTS) {
    throw new KernelError(`denseOutput: x ${described(x)} does not fit weight ${described(weight)}`);
  }
  expectShape('denseOutput', 'bias', bias, [outputs]);
  const place = x.shape.slice(0, -1);
  const value = x.device.tensor([...place, outputs - 1]);
  const confidence = x.device.tensor(place);
  x.device.run({
    kernel: 'dense_output/dense_output',
    constants: {
      OUTPUTS: outputs,
      CHANNELS: channels,
      W_DTYPE: DTYPE_CODE[weight.dtype as keyof typeof DTYPE_CODE],
      INVERSE_LOG: activation === 'inv_log',
    },
    bindings: [x, weight, bias, value, confidence],
    params: { pixels: confidence.size },
    workgroups: grid(Math.ceil(confidence.size / 256)),
    work: () => ({ flops: 2 * x.size * outputs }),
  });
  return [value, confidence];
}

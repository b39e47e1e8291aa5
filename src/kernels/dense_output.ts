import { grid } from '../tensor/device.ts';
import { DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape } from './checks.ts';

/** What becomes of all outputs but the last: exp(z), or sign(z) * (exp(|z|) - 1). */
export type DenseActivation = 'exp' | 'inv_log';

/** Where results go: to pixel `first` and the following ones of both. */
export interface DenseTarget {
  /** f32, O - 1 values a pixel. */
  readonly value: Tensor;
  /** f32, one value a pixel. */
  readonly confidence: Tensor;
  readonly first: number;
}

/** Outputs of a pixel: few enough that one thread keeps them. */
const MOST_OUTPUTS = 16;

/**
 * The end of a dense prediction head: a 1x1 convolution with bias of x [S, H, W, C] f32 by weight [O, C, 1, 1] (f32, f16 or bf16), all channels
 * but the last through `activation`, the last, a confidence, through 1 + exp(z). C is a multiple of 4. @returns [S, H, W, O - 1] and [S, H, W], f32, unless they go elsewhere
 * @throws KernelError
 */
export function denseOutput(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  activation: DenseActivation,
  target?: DenseTarget,
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
  const pixels = x.size / channels;
  const {
    value,
    confidence,
    first = 0,
  } = target ?? { value: x.device.tensor([...place, outputs - 1]), confidence: x.device.tensor(place) };
  for (const [name, tensor, values] of [
    ['value', value, outputs - 1],
    ['confidence', confidence, 1],
  ] as const) {
    expectDtype('denseOutput', name, tensor, 'f32');
    if (tensor.size < (first + pixels) * values)
      throw new KernelError(
        `denseOutput: ${pixels} pixels from ${first} on do not fit into ${name} ${described(tensor)}`,
      );
  }
  x.device.run({
    kernel: 'dense_output/dense_output',
    constants: {
      OUTPUTS: outputs,
      CHANNELS: channels,
      W_DTYPE: DTYPE_CODE[weight.dtype as keyof typeof DTYPE_CODE],
      INVERSE_LOG: activation === 'inv_log',
    },
    bindings: [x, weight, bias, value, confidence],
    params: { pixels, first },
    workgroups: grid(Math.ceil(pixels / 256)),
    work: () => ({ flops: 2 * x.size * outputs }),
  });
  return [value, confidence];
}

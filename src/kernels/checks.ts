import type { Dtype } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** dtypes in which an operation can leave its result. */
export type ResultDtype = 'f32' | 'f16';

/** A tensor as errors name it. */
export function described(tensor: Tensor): string {
  return `[${tensor.shape}] ${tensor.dtype}`;
}

/** @throws KernelError unless the tensor has one of these dtypes */
export function expectDtype(operation: string, name: string, tensor: Tensor, ...dtypes: readonly Dtype[]): void {
  if (!dtypes.includes(tensor.dtype))
    throw new KernelError(`${operation}: ${name} is ${described(tensor)}; expected ${dtypes.join(' or ')}`);
}

/** @throws KernelError unless the tensor has exactly this shape */
export function expectShape(operation: string, name: string, tensor: Tensor, shape: readonly number[]): void {
  if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
    throw new KernelError(`${operation}: ${name} is ${described(tensor)}; expected [${shape}]`);
  }
}

/** f16 results are written two to a word. @throws KernelError when `lastDim` is odd and the result f16 */
export function expectWholeWords(operation: string, lastDim: number, dtype: ResultDtype): void {
  if (dtype === 'f16' && lastDim % 2 !== 0)
    throw new KernelError(`${operation}: an f16 result needs an even last dimension; got ${lastDim}`);
}

/** A dispatch cannot read and write one buffer through two bindings. @throws KernelError when `target` shares memory with a source */
export function expectApart(operation: string, target: Tensor, ...sources: readonly Tensor[]): void {
  for (const source of sources) {
    if (source.storage === target.storage) {
      throw new KernelError(
        `${operation}: the target ${described(target)} and a source ${described(source)} share a buffer`,
      );
    }
  }
}

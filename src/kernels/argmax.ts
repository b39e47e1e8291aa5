import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { expectDtype, expectShape } from './checks.ts';

/** Values that one workgroup of the first stage reads at least: 4 a thread. */
const LEAST_PART = 1024;
/** Workgroups that fill a large GPU; more parts than needed for this only lengthen the second stage. */
const ENOUGH_WORKGROUPS = 1024;

/**
 * Index of the largest value of each row; the lowest among equals. NaN never wins; a row of nothing but NaN gives -1.
 * Two stages: parts of rows, then the parts of each row.
 * @param x f32 [T, V]
 * @param into i32 [T] that receives the result; a new tensor unless given
 * @returns i32 [T]
 */
export function argmax(x: Tensor, into?: Tensor): Tensor {
  const [rows = 0, columns = 0] = x.shape;
  if (x.dtype !== 'f32' || x.shape.length !== 2 || columns === 0) {
    throw new KernelError(`argmax: ${x.dtype} [${x.shape}] is no matrix of f32 with columns`);
  }
  if (into !== undefined) {
    expectDtype('argmax', 'the result', into, 'i32');
    expectShape('argmax', 'the result', into, [rows]);
  }
  const { device } = x;
  return device.tidy(() => {
    const out = into ?? device.tensor([rows], 'i32');
    if (rows === 0) return out;
    const most = Math.max(1, Math.floor(ENOUGH_WORKGROUPS / rows));
    const partSize = Math.max(LEAST_PART, Math.ceil(columns / most));
    const parts = Math.ceil(columns / partSize);
    const candidates = device.tensor([rows, parts, 2], 'u32');
    device.run({
      kernel: 'argmax/scan',
      bindings: [x, candidates],
      params: { rows, columns, parts, part_size: partSize },
      workgroups: grid(rows * parts),
      work: () => ({ flops: x.size }),
    });
    mergeCandidates(candidates, out);
    return out;
  });
}

/** Records the second stage: from candidates u32 [T, parts, 2] of (order-preserving key, index) to the index of each row's largest, i32 [T], or -1 where every key is 0. */
export function mergeCandidates(candidates: Tensor, out: Tensor): void {
  const [rows, parts] = [candidates.dim(0), candidates.dim(1)];
  out.device.run({
    kernel: 'argmax/merge',
    bindings: [candidates, out],
    params: { rows, parts },
    workgroups: grid(rows),
  });
}

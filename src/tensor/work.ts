import type { Tensor } from './tensor.ts';

/** What a dispatch, or a whole operation, cannot do without: the yardstick of profiles and benchmarks. */
export interface Work {
  /** Floating-point operations. */
  readonly flops: number;
  /** Bytes read and written. */
  readonly bytes: number;
}

/** The work of several dispatches together. */
export function totalWork(parts: readonly Work[]): Work {
  return parts.reduce((sum, { flops, bytes }) => ({ flops: sum.flops + flops, bytes: sum.bytes + bytes }), {
    flops: 0,
    bytes: 0,
  });
}

/** Bytes of the tensors, each counted once however often it is bound. */
export function bytesOf(tensors: readonly Tensor[]): number {
  const ranges = new Map<string, number>();
  for (const { storage, offset, byteLength } of tensors) {
    const key = `${storage.id}:${offset}`;
    ranges.set(key, Math.max(byteLength, ranges.get(key) ?? 0));
  }
  return [...ranges.values()].reduce((sum, bytes) => sum + bytes, 0);
}

import type { Work } from '../tensor/work.ts';
import type { Ceiling } from './report.ts';

/** What a kernel is bound by at most. */
export type Bound = 'memory' | 'f32' | 'matrix';

/** A kernel's time beside the ceilings: the one it is nearest to, and how near. */
export interface Share {
  readonly ceiling: Bound;
  readonly shareOfCeiling: number;
}

/** Milliseconds that the ceilings allow for the work: the longer of moving its bytes and doing its arithmetic, and which one that is. */
export function floorOf(work: Work, usesMatrices: boolean, ceiling: Ceiling): { milliseconds: number; bound: Bound } {
  const memory = work.bytes / ceiling.gbps / 1e6;
  const isMatrix = usesMatrices && ceiling.matrixTflops !== undefined;
  const arithmetic = work.flops / (isMatrix ? ceiling.matrixTflops! : ceiling.tflops) / 1e9;
  if (memory >= arithmetic) return { milliseconds: memory, bound: 'memory' };
  return { milliseconds: arithmetic, bound: isMatrix ? 'matrix' : 'f32' };
}

/** The share of the nearer ceiling that work reached in a time. */
export function shareOf(work: Work, milliseconds: number, usesMatrices: boolean, ceiling: Ceiling): Share {
  const floor = floorOf(work, usesMatrices, ceiling);
  return { ceiling: floor.bound, shareOfCeiling: floor.milliseconds / milliseconds };
}

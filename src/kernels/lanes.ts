/** Threads of a workgroup in kernels that reduce vectors (`wgsl/common/lane_sum.wgsl`). */
const THREADS = 256;

/** How vectors are dealt to the groups of threads of `wgsl/common/lane_sum.wgsl`. */
export interface Lanes {
  /** Threads that share one vector: a power of two. */
  readonly lanes: number;
  /** Workgroups that `vectors` vectors take. */
  readonly workgroups: number;
}

/** Lanes for vectors of `dim` elements: about eight elements each, so that short vectors share a workgroup. */
export function lanesFor(dim: number, vectors: number): Lanes {
  const lanes = Math.min(THREADS, Math.max(4, 2 ** Math.ceil(Math.log2(dim / 8))));
  return { lanes, workgroups: Math.ceil(vectors / (THREADS / lanes)) };
}

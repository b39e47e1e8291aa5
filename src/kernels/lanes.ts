/** Threads of a workgroup in kernels that reduce vectors (`wgsl/common/lane_sum.wgsl`). */
const THREADS = 256;

/** How vectors are dealt to the groups of threads of `wgsl/common/lane_sum.wgsl`. */
export interface Lanes {
  /** Threads that share one vector: a power of two. */
  readonly lanes: number;
  /** Workgroups that `vectors` vectors take. */
  readonly workgroups: number;
}

/**
 * Lanes for vectors of `dim` elements: about sixteen elements each, so that short vectors share a workgroup. On the card measured eight each
 * were slower for many vectors (layer_norm of 33312 x 1024: 59 and 54 us, of 8288 x 2048: 38 and 32) and a microsecond faster for few; thirty-two were slower.
 */
export function lanesFor(dim: number, vectors: number): Lanes {
  const lanes = Math.min(THREADS, Math.max(4, 2 ** Math.round(Math.log2(dim / 16))));
  return { lanes, workgroups: Math.ceil(vectors / (THREADS / lanes)) };
}

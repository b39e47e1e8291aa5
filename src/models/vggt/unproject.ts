import type { Cameras } from './pose.ts';

/** Depths up to this count as unknown. */
const LEAST_DEPTH = 1e-8;

/** Points of the world, one for each pixel. */
export interface UnprojectedPoints {
  /** [frames, height, width, 3], in the unit of the depth. */
  readonly worldPoints: Float32Array;
  /** [frames, height, width]: 1 where the depth is known. */
  readonly valid: Uint8Array;
}

/**
 * Depth maps [frames, height, width] to points of the world (spec vggt.md section 6): a pixel's ray goes through its column and row index, with no
 * half-pixel offset.
 */
export function unprojectDepth(
  depth: Float32Array,
  { extrinsic, intrinsic }: Cameras,
  height: number,
  width: number,
): UnprojectedPoints {
  const frames = intrinsic.length / 9;
  const worldPoints = new Float32Array(depth.length * 3);
  const valid = new Uint8Array(depth.length);
  let pixel = 0;
  for (let frame = 0; frame < frames; frame++) {
    const [r00, r01, r02, tx, r10, r11, r12, ty, r20, r21, r22, tz] = extrinsic.subarray(
      frame * 12,
      (frame + 1) * 12,
    ) as unknown as number[] & { length: 12 };
    const [fx, , cx, , fy, cy] = intrinsic.subarray(frame * 9, (frame + 1) * 9) as unknown as number[];
    for (let v = 0; v < height; v++) {
      for (let u = 0; u < width; u++, pixel++) {
        const z = depth[pixel]!;
        // From camera to world: R^T (p - t).
        const x = ((u - cx!) * z) / fx! - tx!;
        const y = ((v - cy!) * z) / fy! - ty!;
        const forward = z - tz!;
        worldPoints[3 * pixel] = r00! * x + r10! * y + r20! * forward;
        worldPoints[3 * pixel + 1] = r01! * x + r11! * y + r21! * forward;
        worldPoints[3 * pixel + 2] = r02! * x + r12! * y + r22! * forward;
        valid[pixel] = z > LEAST_DEPTH ? 1 : 0;
      }
    }
  }
  return { worldPoints, valid };
}

import type { Cloud } from './cloud.ts';
import { percentile } from './percentile.ts';
import type { SceneCamera } from './scene.ts';

/** Corners of a frustum, in the order of `frustumCorners`, that lines join. */
export const FRUSTUM_LINES = [0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1] as const;

/** A camera's centre and the corners of its picture `depth` in front of it, in its own frame: [5, 3]. */
export function frustumCorners(
  { fx, fy, cx, cy }: SceneCamera,
  width: number,
  height: number,
  depth: number,
): Float32Array {
  const [left, right] = [(-cx / fx) * depth, ((width - cx) / fx) * depth];
  const [top, bottom] = [(-cy / fy) * depth, ((height - cy) / fy) * depth];
  return Float32Array.of(0, 0, 0, left, top, depth, right, top, depth, right, bottom, depth, left, bottom, depth);
}

/** The world from a camera's frame, a 4 x 4 matrix column by column. */
export function worldFromCamera({ rotation, centre }: SceneCamera): number[] {
  const row = (r: number) => rotation.slice(3 * r, 3 * r + 3);
  return [...row(0), 0, ...row(1), 0, ...row(2), 0, ...centre, 1];
}

/** How far the drawn frustums reach: small beside the distance at which most of the cloud lies. */
export function frustumDepth(cloud: Cloud, cameras: readonly SceneCamera[]): number {
  const first = cameras[0]?.centre ?? [0, 0, 0];
  const distances = Float32Array.from({ length: cloud.count }, (_, i) =>
    Math.hypot(...[0, 1, 2].map((c) => cloud.positions[3 * i + c]! - first[c]!)),
  );
  return 0.06 * (percentile(distances, 0.5) ?? 1);
}

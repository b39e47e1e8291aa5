/** Values of a pose encoding "absT_quaR_FoV": translation (3), quaternion x, y, z, w (4), vertical and horizontal field of view (2). */
export const POSE_VALUES = 9;

/** Cameras of some frames. */
export interface Cameras {
  /** [frames, 3, 4]: [R | t], camera from world; x right, y down, z forward (OpenCV). */
  readonly extrinsic: Float32Array;
  /** [frames, 3, 3], in pixels. */
  readonly intrinsic: Float32Array;
}

/** Encodings [frames, 9] from the network's values: fields of view cannot be negative. */
export function activatePose(raw: Float32Array): Float32Array {
  return raw.map((value, i) => (i % POSE_VALUES < 7 ? value : Math.max(value, 0)));
}

/** Rotation of a quaternion (x, y, z, w) of any length but 0, row by row. */
export function quaternionToMatrix(i: number, j: number, k: number, r: number): number[] {
  const s = 2 / (i * i + j * j + k * k + r * r);
  return [
    1 - s * (j * j + k * k),
    s * (i * j - k * r),
    s * (i * k + j * r),
    s * (i * j + k * r),
    1 - s * (i * i + k * k),
    s * (j * k - i * r),
    s * (i * k - j * r),
    s * (j * k + i * r),
    1 - s * (i * i + j * j),
  ];
}

/** Cameras of pose encodings [frames, 9] for pictures of this size in pixels (spec vggt.md section 5); the principal point is the centre. */
export function decodePose(poseEnc: Float32Array, height: number, width: number): Cameras {
  const frames = poseEnc.length / POSE_VALUES;
  const extrinsic = new Float32Array(frames * 12);
  const intrinsic = new Float32Array(frames * 9);
  for (let frame = 0; frame < frames; frame++) {
    const [tx, ty, tz, i, j, k, r, fovH, fovW] = poseEnc.subarray(
      frame * POSE_VALUES,
      (frame + 1) * POSE_VALUES,
    ) as unknown as [number, number, number, number, number, number, number, number, number];
    const rotation = quaternionToMatrix(i, j, k, r);
    [tx, ty, tz].forEach((t, row) => {
      extrinsic.set([...rotation.slice(3 * row, 3 * row + 3), t], frame * 12 + 4 * row);
    });
    const fx = width / 2 / Math.tan(fovW / 2);
    const fy = height / 2 / Math.tan(fovH / 2);
    intrinsic.set([fx, 0, width / 2, 0, fy, height / 2, 0, 0, 1], frame * 9);
  }
  return { extrinsic, intrinsic };
}

import { contentOf, type Frame } from '../models/vggt/image_processor.ts';
import type { Predictions } from '../models/vggt/predictions.ts';

/** Frames with what VGGT says about them. */
export interface Scene {
  /** As the model saw them, all of one size. */
  readonly frames: readonly Frame[];
  /** Where each came from. */
  readonly names: readonly string[];
  readonly predictions: Predictions;
}

/** The camera of a frame; x right, y down, z forward (OpenCV). */
export interface SceneCamera {
  readonly frame: number;
  /** [3, 3] row by row, camera from world. */
  readonly rotation: readonly number[];
  readonly translation: readonly number[];
  /** Focal lengths and principal point in pixels of the frame. */
  readonly fx: number;
  readonly fy: number;
  readonly cx: number;
  readonly cy: number;
  /** Where it stands in the world. */
  readonly centre: readonly [number, number, number];
}

/** The cameras of a scene; `undefined` where an estimate is none that could take pictures (a field of view of 0). No list without a camera head. */
export function sceneCameras({ predictions }: Scene): (SceneCamera | undefined)[] | undefined {
  const { extrinsic, intrinsic, frames } = predictions;
  if (extrinsic === undefined || intrinsic === undefined) return undefined;
  return Array.from({ length: frames }, (_, frame) => {
    const rows = extrinsic.subarray(frame * 12, (frame + 1) * 12);
    const lens = intrinsic.subarray(frame * 9, (frame + 1) * 9);
    if (![...rows, ...lens].every(Number.isFinite) || !(lens[0]! > 0 && lens[4]! > 0)) return undefined;
    const rotation = [0, 1, 2].flatMap((row) => [...rows.subarray(4 * row, 4 * row + 3)]);
    const translation = [rows[3]!, rows[7]!, rows[11]!];
    const centre = [0, 1, 2].map((c) => -[0, 1, 2].reduce((sum, r) => sum + rotation[3 * r + c]! * translation[r]!, 0));
    return {
      frame,
      rotation,
      translation,
      fx: lens[0]!,
      fy: lens[4]!,
      cx: lens[2]!,
      cy: lens[5]!,
      centre: centre as [number, number, number],
    };
  });
}

/** Calls `use` with the index into [height, width] of every pixel of a frame that shows its picture rather than the white beside it. */
export function forEachShownPixel(frame: Frame, use: (pixel: number) => void): void {
  const { left, top, right, bottom } = contentOf(frame);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) use(y * frame.width + x);
  }
}

/** Three digits, more for scenes of a thousand frames and more: the name of a frame's files. */
export function frameName(frame: number): string {
  return `${frame}`.padStart(3, '0');
}

import { contentOf } from '../models/vggt/image_processor.ts';
import type { DepthRange } from './depth_pictures.ts';
import { frameName, type Scene } from './scene.ts';

/**
 * The contents of `cameras.json`: what the frames are, how their pixels relate to the pictures they were made of and, where they were estimated, cameras and
 * the scale of the depth pictures. Numbers that JSON cannot hold (the focal length of a field of view of 0) are null.
 */
export function camerasJson(scene: Scene, range: DepthRange | undefined): object {
  const { frames, names, predictions } = scene;
  const { extrinsic, intrinsic, width, height } = predictions;
  return {
    convention:
      'extrinsic [R | t] takes world to camera coordinates: x right, y down, z forward (OpenCV); the world is the first camera',
    width,
    height,
    ...(range && { depth_scale: range.scale, depth_unit: 'depth = 16-bit value * depth_scale; 0 is unknown' }),
    frames: frames.map((frame, f) => {
      const { source, scale, corner } = frame.place;
      const { left, top, right, bottom } = contentOf(frame);
      const rows = (values: Float32Array, columns: number) =>
        [0, 1, 2].map((row) => [...values.subarray((f * 3 + row) * columns, (f * 3 + row + 1) * columns)]);
      const lens = intrinsic && rows(intrinsic, 3);
      // The same camera for the picture as given: its pixels are 1 / scale of the frame's, counted from its own corner.
      const ofSource = lens?.map((row, axis) =>
        axis === 2 ? row : row.map((value, column) => (column === 2 ? value - corner[axis]! : value) / scale[axis]!),
      );
      return {
        name: names[f],
        image: `images/${frameName(f)}.png`,
        source_width: source.width,
        source_height: source.height,
        shown: { left, top, width: right - left, height: bottom - top },
        ...(extrinsic && { extrinsic: rows(extrinsic, 4) }),
        ...(lens && { intrinsic: lens, source_intrinsic: ofSource }),
      };
    }),
  };
}

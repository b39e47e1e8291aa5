import type { Cloud } from './cloud.ts';
import { frameName, type Scene, type SceneCamera } from './scene.ts';

/** The three files of a COLMAP model in its text format. */
export interface ColmapModel {
  readonly cameras: string;
  readonly images: string;
  readonly points3D: string;
}

/**
 * Cameras and points as a COLMAP model of the frames as the model saw them, `NNN.png`. Identifiers count from 1; every frame has a camera of its own, and
 * every point is seen once, in the pixel it comes from.
 */
export function colmapModel(
  { frames, predictions }: Scene,
  cameras: readonly SceneCamera[],
  cloud: Cloud,
): ColmapModel {
  const { width, height } = frames[0]!;
  const cameraLines = cameras.map(({ frame, fx, fy, cx, cy }) =>
    [frame + 1, 'PINHOLE', width, height, fx, fy, cx, cy].join(' '),
  );
  const seen = new Map(cameras.map(({ frame }) => [frame, [] as string[]]));
  const pointLines: string[] = [];
  for (let i = 0; i < cloud.count; i++) {
    const pixel = cloud.pixels[i]!;
    const frame = Math.floor(pixel / (width * height));
    const observations = seen.get(frame);
    if (observations === undefined) continue;
    const id = pointLines.length + 1;
    const [position, colour] = [cloud.positions, cloud.colours].map((values) => values.subarray(3 * i, 3 * i + 3));
    const projectionError = 0;
    pointLines.push([id, ...position!, ...colour!, projectionError, frame + 1, observations.length].join(' '));
    observations.push(`${pixel % width} ${Math.floor(pixel / width) % height} ${id}`);
  }
  const imageLines = cameras.flatMap(({ frame, translation }) => {
    const pose = [...unitQuaternion(predictions.poseEnc!, frame), ...translation];
    return [[frame + 1, ...pose, frame + 1, `${frameName(frame)}.png`].join(' '), seen.get(frame)!.join(' ')];
  });
  return {
    cameras: text('CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[] (fx, fy, cx, cy)', cameraLines),
    images: text(
      'IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME; then POINTS2D[] as (X, Y, POINT3D_ID)',
      imageLines,
    ),
    points3D: text('POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)', pointLines),
  };
}

function text(columns: string, lines: readonly string[]): string {
  return `${[`# ${columns}`, ...lines].join('\n')}\n`;
}

/** The rotation of a pose encoding as w, x, y, z of length 1 with w >= 0. */
function unitQuaternion(poseEnc: Float32Array, frame: number): number[] {
  const [x, y, z, w] = poseEnc.subarray(frame * 9 + 3, frame * 9 + 7) as unknown as [number, number, number, number];
  const length = Math.hypot(x, y, z, w) * (w < 0 ? -1 : 1);
  return [w, x, y, z].map((value) => value / length);
}

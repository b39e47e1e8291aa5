import type { Frame } from '../../src/models/vggt/image_processor.ts';
import { decodePose } from '../../src/models/vggt/pose.ts';
import type { Scene } from '../../src/scene/scene.ts';

type Vector = readonly [number, number, number];

/** A room seen by cameras of known places: what a perfect model would say about it. x right, y down, z forward of the first camera. */
export interface RoomOptions {
  readonly frames: number;
  readonly width: number;
  readonly height: number;
  /** Columns on the left and on the right of every frame that are white padding. */
  readonly padding?: number;
}

const FOV_HEIGHT = 1;
const BALL = { centre: [0.45, 0.75, 3.1] as Vector, radius: 0.55 };
/** Walls by axis and place: inside of the room, from -end to +end. */
const HALF: Vector = [2, 1.3, 3];
const MIDDLE: Vector = [0, 0, 2.2];

/** The colours of the left and the right wall, the ceiling, the floor, and the walls behind and ahead. */
export const WALL_COLOURS: readonly Vector[] = [
  [196, 62, 58],
  [70, 150, 80],
  [215, 213, 205],
  [150, 128, 104],
  [120, 120, 130],
  [72, 98, 168],
];

/** Which surface a ray meets, how far away in multiples of its direction, and its colour there. */
function hit(from: Vector, along: Vector): { distance: number; colour: Vector } {
  const nearest = { distance: Number.POSITIVE_INFINITY, colour: [0, 0, 0] as Vector };
  for (const axis of [0, 1, 2] as const) {
    for (const side of [0, 1]) {
      const wall = MIDDLE[axis] + (side === 0 ? -HALF[axis] : HALF[axis]);
      const distance = (wall - from[axis]) / along[axis];
      if (!(distance > 1e-9 && distance < nearest.distance)) continue;
      const place = [0, 1, 2].map((c) => from[c]! + distance * along[c]!);
      const tile = axis === 1 && side === 1 && (Math.floor(place[0]! * 2) + Math.floor(place[2]! * 2)) % 2 === 0;
      const [r, g, b] = WALL_COLOURS[2 * axis + side]!;
      Object.assign(nearest, { distance, colour: tile ? [r + 60, g + 60, b + 60] : [r, g, b] });
    }
  }
  const offset = [0, 1, 2].map((c) => from[c]! - BALL.centre[c]!);
  const a = along.reduce((sum, v) => sum + v * v, 0);
  const b = along.reduce((sum, v, c) => sum + v * offset[c]!, 0);
  const c = offset.reduce((sum, v) => sum + v * v, 0) - BALL.radius ** 2;
  const distance = (-b - Math.sqrt(b * b - a * c)) / a;
  if (distance > 1e-9 && distance < nearest.distance) {
    const up = -(from[1] + distance * along[1] - BALL.centre[1]) / BALL.radius;
    return { distance, colour: [235, 150 + 60 * up, 70 + 60 * up] };
  }
  return nearest;
}

/** Renders the room. */
export function roomScene({ frames, width, height, padding = 0 }: RoomOptions): Scene {
  const poses: number[] = [];
  for (let f = 0; f < frames; f++) {
    // The cameras go to the right and turn to the left, as somebody does who walks around something.
    const turn = -0.15 * f;
    const centre = [0.35 * f, -0.08 * f, 0.05 * f * f];
    const [c, s] = [Math.cos(turn), Math.sin(turn)];
    // Rotation about y, camera from world.
    const translation = [-(c * centre[0]! - s * centre[2]!), -centre[1]!, -(s * centre[0]! + c * centre[2]!)];
    const fovWidth = 2 * Math.atan((Math.tan(FOV_HEIGHT / 2) * width) / height);
    poses.push(...translation, 0, -Math.sin(turn / 2), 0, Math.cos(turn / 2), FOV_HEIGHT, fovWidth);
  }
  const poseEnc = Float32Array.from(poses);
  const { extrinsic, intrinsic } = decodePose(poseEnc, height, width);
  const pixels = width * height;
  const predictions = {
    frames,
    width,
    height,
    poseEnc,
    extrinsic,
    intrinsic,
    depth: new Float32Array(frames * pixels),
    depthConf: new Float32Array(frames * pixels),
    worldPoints: new Float32Array(frames * pixels * 3),
    worldPointsConf: new Float32Array(frames * pixels).fill(2),
  };
  const pictures: Frame[] = Array.from({ length: frames }, (_, f) => {
    const data = new Uint8Array(pixels * 3).fill(255);
    const m = extrinsic.subarray(12 * f, 12 * f + 12);
    const k = intrinsic.subarray(9 * f, 9 * f + 9);
    const toWorld = (v: Vector) =>
      [0, 1, 2].map((c) => m[c]! * v[0] + m[4 + c]! * v[1] + m[8 + c]! * v[2]) as unknown as Vector;
    const from = toWorld([-m[3]!, -m[7]!, -m[11]!]);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const pixel = f * pixels + y * width + x;
        const along = toWorld([(x - k[2]!) / k[0]!, (y - k[5]!) / k[4]!, 1]);
        const { distance, colour } = hit(from, along);
        predictions.depth[pixel] = distance;
        predictions.depthConf[pixel] = 1 + 10 / distance;
        predictions.worldPoints.set(
          [0, 1, 2].map((c) => from[c]! + distance * along[c]!),
          3 * pixel,
        );
        if (x >= padding && x < width - padding) data.set(colour, 3 * (y * width + x));
      }
    }
    const source = { width: 2 * (width - 2 * padding), height: 2 * height };
    return { width, height, data, place: { source, scale: [0.5, 0.5], corner: [padding, 0] } };
  });
  return { frames: pictures, names: pictures.map((_, f) => `room, ${f}.png`), predictions };
}

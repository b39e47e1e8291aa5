import { InputError } from '../io/errors.ts';
import type { RgbImage } from '../io/image.ts';
import { contentOf, type Frame } from '../models/vggt/image_processor.ts';
import { copyImage, drawLine, drawRing, type Point } from './canvas.ts';
import { distinctColour, type Rgb } from './colours.ts';
import type { Scene } from './scene.ts';

/** Probability from which a point counts as visible. */
const VISIBLE = 0.5;
/** Earlier frames whose positions are drawn behind a point. */
const TRAIL = 12;
const OUTLINE: Rgb = [10, 10, 12];

/** Points given in pixels of the first picture, as pixels of its frame: [N, 2]. @throws InputError for one that the frame does not show */
export function queriesInFrame(points: readonly Point[], frame: Frame): Float32Array {
  const { place } = frame;
  const { width, height } = place.source;
  const { left, top, right, bottom } = contentOf(frame);
  return Float32Array.from(
    points.flatMap((point) => {
      if (!(point[0] >= 0 && point[0] < width && point[1] >= 0 && point[1] < height)) {
        throw new InputError(
          `--query: expected points inside of the first picture's ${width} x ${height} pixels, found ${point.join(',')}.`,
        );
      }
      const [x, y] = [0, 1].map((axis) => point[axis]! * place.scale[axis]! + place.corner[axis]!) as [number, number];
      if (x >= left && x < right && y >= top && y < bottom) return [x, y];
      throw new InputError(
        `--query: point ${point.join(',')} lies in the part of the first picture that mode crop cuts off; --mode pad keeps all of it.`,
      );
    }),
  );
}

/** A place in a frame as one in the picture that it was made of. */
function inPicture([x, y]: Point, { place }: Frame): Point {
  return [(x - place.corner[0]) / place.scale[0], (y - place.corner[1]) / place.scale[1]];
}

/** Where the i-th track is in a frame, in the frame's pixels. */
function positionOf({ predictions }: Scene, frame: number, track: number): Point {
  const at = 2 * (frame * trackCount(predictions) + track);
  return [predictions.track![at]!, predictions.track![at + 1]!];
}

function trackCount({ vis, frames }: Scene['predictions']): number {
  return (vis?.length ?? 0) / frames;
}

/** The tracks of a scene for `tracks.json`: positions in pixels of the pictures as given, and of the frames as the model saw them. */
export function tracksJson(scene: Scene): object {
  const { vis, conf, frames } = scene.predictions;
  const tracks = trackCount(scene.predictions);
  return {
    frames: scene.names,
    tracks: Array.from({ length: tracks }, (_, n) => {
      const places = scene.frames.map((_, frame) => positionOf(scene, frame, n));
      const perFrame = (values: Float32Array) =>
        Array.from({ length: frames }, (_, frame) => values[frame * tracks + n]!);
      return {
        positions: places.map((place, frame) => inPicture(place, scene.frames[frame]!)),
        positions_in_frame: places,
        visibility: perFrame(vis!),
        confidence: perFrame(conf!),
      };
    }),
  };
}

/** A frame with its points, each with where it came from behind it; rings are points that are probably hidden. */
export function trackPicture(scene: Scene, frame: number): RgbImage {
  const image = copyImage(scene.frames[frame]!);
  const size = Math.max(4, image.width / 65);
  const tracks = trackCount(scene.predictions);
  for (let n = 0; n < tracks; n++) {
    const colour = distinctColour(n);
    for (let f = Math.max(1, frame - TRAIL); f <= frame; f++) {
      const fade = 1 - (frame - f) / (TRAIL + 1);
      drawLine(image, positionOf(scene, f - 1, n), positionOf(scene, f, n), size / 3, colour, fade);
    }
  }
  for (let n = 0; n < tracks; n++) {
    const place = positionOf(scene, frame, n);
    if (scene.predictions.vis![frame * tracks + n]! >= VISIBLE) {
      drawLine(image, place, place, size + 3, OUTLINE, 0.85);
      drawLine(image, place, place, size, distinctColour(n));
    } else {
      drawRing(image, place, size / 2, 4, OUTLINE);
      drawRing(image, place, size / 2, 2, distinctColour(n));
    }
  }
  return image;
}

import { InputError } from '../io/errors.ts';
import { unprojectDepth } from '../models/vggt/unproject.ts';
import { percentile } from './percentile.ts';
import { forEachShownPixel, type Scene } from './scene.ts';

/** Where a cloud's points come from: depth maps seen through the cameras, or the point head's own estimates. */
export const POINT_SOURCES = ['depth', 'head'] as const;
export type PointSource = (typeof POINT_SOURCES)[number];

/** Coloured points of the world. */
export interface Cloud {
  readonly count: number;
  /** [count, 3] */
  readonly positions: Float32Array;
  /** [count, 3]: sRGB bytes. */
  readonly colours: Uint8Array;
  /** [count]: at least 1, more is surer. */
  readonly confidence: Float32Array;
  /** [count]: the index into [frames, height, width] of the pixel that shows the point. */
  readonly pixels: Uint32Array;
}

/** Which points a cloud keeps. */
export interface CloudOptions {
  readonly source: PointSource;
  /** Leaves out this share of the points, the least confident ones: 0 .. 100. */
  readonly confPercentile: number;
}

/** The sources that these predictions allow. */
export function pointSources({ predictions }: Scene): PointSource[] {
  const { depth, extrinsic, worldPoints } = predictions;
  return [...(depth && extrinsic ? (['depth'] as const) : []), ...(worldPoints ? (['head'] as const) : [])];
}

/**
 * The cloud of a scene: every pixel that shows a picture is a point, unless its place is unknown or its confidence low.
 * @throws InputError when the scene lacks what the source needs
 */
export function buildCloud(scene: Scene, { source, confPercentile }: CloudOptions): Cloud {
  const { points, confidence, isKnown } = pointsOf(scene, source);
  const { width, height } = scene.frames[0]!;
  const plane = width * height;
  const shown = new Uint32Array(scene.frames.length * plane);
  let known = 0;
  scene.frames.forEach((frame, f) => {
    forEachShownPixel(frame, (at) => {
      const pixel = f * plane + at;
      const isPlace = Number.isFinite(points[3 * pixel]! + points[3 * pixel + 1]! + points[3 * pixel + 2]!);
      if (isPlace && isKnown(pixel) && confidence[pixel]! > 0) shown[known++] = pixel;
    });
  });
  const candidates = shown.subarray(0, known);
  const least = percentile(valuesAt(confidence, candidates), confPercentile / 100) ?? 0;
  const pixels = candidates.filter((pixel) => confidence[pixel]! >= least);

  const count = pixels.length;
  const cloud = {
    count,
    positions: new Float32Array(3 * count),
    colours: new Uint8Array(3 * count),
    confidence: new Float32Array(count),
    pixels,
  };
  pixels.forEach((pixel, i) => {
    const picture = scene.frames[Math.floor(pixel / plane)]!.data;
    for (let c = 0; c < 3; c++) {
      cloud.positions[3 * i + c] = points[3 * pixel + c]!;
      cloud.colours[3 * i + c] = picture[3 * (pixel % plane) + c]!;
    }
    cloud.confidence[i] = confidence[pixel]!;
  });
  return cloud;
}

/** At most `most` points of a cloud, spread evenly over its frames and pixels, though not in a pattern that would show. */
export function thinned(cloud: Cloud, most: number): Cloud {
  if (cloud.count <= most) return cloud;
  const chosen = Uint32Array.from({ length: most }, (_, i) => {
    const jitter = (Math.imul(i + 1, 2654435761) >>> 0) / 2 ** 32;
    return Math.floor(((i + jitter) * cloud.count) / most);
  });
  const triples = <T extends Float32Array | Uint8Array>(from: T, to: T): T => {
    chosen.forEach((index, i) => {
      to.set(from.subarray(3 * index, 3 * index + 3), 3 * i);
    });
    return to;
  };
  return {
    count: most,
    positions: triples(cloud.positions, new Float32Array(3 * most)),
    colours: triples(cloud.colours, new Uint8Array(3 * most)),
    confidence: Float32Array.from(chosen, (index) => cloud.confidence[index]!),
    pixels: Uint32Array.from(chosen, (index) => cloud.pixels[index]!),
  };
}

interface SourcePoints {
  readonly points: Float32Array;
  readonly confidence: Float32Array;
  readonly isKnown: (pixel: number) => boolean;
}

function pointsOf(scene: Scene, source: PointSource): SourcePoints {
  const { depth, depthConf, extrinsic, intrinsic, worldPoints, worldPointsConf, height, width } = scene.predictions;
  if (source === 'head') {
    if (!worldPoints || !worldPointsConf) throw new InputError('expected points of the point head, found none.');
    return { points: worldPoints, confidence: worldPointsConf, isKnown: () => true };
  }
  if (!depth || !depthConf || !extrinsic || !intrinsic) {
    throw new InputError('expected depth and cameras to make points of, found only a part of them.');
  }
  const { worldPoints: points, valid } = unprojectDepth(depth, { extrinsic, intrinsic }, height, width);
  return { points, confidence: depthConf, isKnown: (pixel) => valid[pixel] === 1 };
}

/** The values at some places; may be gone through several times. */
function valuesAt(values: Float32Array, places: Uint32Array): Iterable<number> {
  return {
    *[Symbol.iterator]() {
      for (const place of places) yield values[place]!;
    },
  };
}

import type { Observe } from '../precision.ts';
import { activatePose, decodePose } from './pose.ts';

/** The heads of a VGGT. A checkpoint may lack any of them. */
export const HEADS = ['camera', 'depth', 'point', 'track'] as const;
export type HeadName = (typeof HEADS)[number];

/** What `VGGT.predict` is doing. */
export type PredictPhase = 'aggregator' | HeadName;

/** What to predict. */
export interface PredictOptions {
  /** All heads that the checkpoint has unless given; tracks only with `queryPoints`. */
  readonly heads?: readonly HeadName[];
  /** [N, 2]: (x, y) in pixels of the first frame, the points to follow. */
  readonly queryPoints?: Float32Array;
  /** Called when a phase begins; the GPU has finished the one before. */
  readonly onPhase?: (phase: PredictPhase) => void;
  /** Sees `patch_embed` and `aggregated.N` of every layer. */
  readonly observe?: Observe;
}

/** Camera estimates of S frames. */
export interface CameraPrediction {
  /** [S, 9]: translation (3), quaternion x, y, z, w (4), vertical and horizontal field of view in radians (2). */
  readonly poseEnc: Float32Array;
  /** `poseEnc` after each refinement; the last one is `poseEnc`. */
  readonly poseEncIterations: readonly Float32Array[];
  /** [S, 3, 4]: [R | t], camera from world, x right, y down, z forward (OpenCV). The world is the first camera's frame, about to scale 1. */
  readonly extrinsic: Float32Array;
  /** [S, 3, 3]: focal lengths and principal point in pixels of the frames given. */
  readonly intrinsic: Float32Array;
}

/** Depth estimates of S frames. */
export interface DepthPrediction {
  /** [S, H, W]: along the camera's z axis, in the unit of the translations. */
  readonly depth: Float32Array;
  /** [S, H, W]: at least 1, more is surer. */
  readonly depthConf: Float32Array;
}

/** Point estimates of S frames. */
export interface PointPrediction {
  /** [S, H, W, 3]: each pixel's point in the first camera's frame. */
  readonly worldPoints: Float32Array;
  /** [S, H, W]: at least 1, more is surer. */
  readonly worldPointsConf: Float32Array;
}

/** Tracks of N points through S frames. */
export interface TrackPrediction {
  /** [S, N, 2]: (x, y) in pixels. */
  readonly track: Float32Array;
  /** [S, N]: probability that the point is visible. */
  readonly vis: Float32Array;
  /** [S, N]: probability that the track is right. */
  readonly conf: Float32Array;
}

/** What VGGT says about S frames of H x W pixels; what was not asked for or cannot be predicted is absent. */
export interface Predictions extends Partial<CameraPrediction & DepthPrediction & PointPrediction & TrackPrediction> {
  readonly frames: number;
  readonly height: number;
  readonly width: number;
}

/** The prediction that the camera head's values [S, 9] after each refinement stand for. */
export function cameraPrediction(raw: readonly Float32Array[], height: number, width: number): CameraPrediction {
  const poseEncIterations = raw.map(activatePose);
  const poseEnc = poseEncIterations.at(-1)!;
  return { poseEnc, poseEncIterations, ...decodePose(poseEnc, height, width) };
}

/** The prediction that the track head's values stand for: coords [N, S, 2] in pixels of its maps, logits [N, S]. */
export function trackPrediction(
  { coords, vis, conf }: Record<'coords' | 'vis' | 'conf', Float32Array>,
  frames: number,
  stride: number,
): TrackPrediction {
  const tracks = vis.length / frames;
  const at = (i: number) => (i % tracks) * frames + Math.floor(i / tracks);
  const sigmoid = (logits: Float32Array) => logits.map((_, i) => 1 / (1 + Math.exp(-logits[at(i)]!)));
  return {
    track: coords.map((_, i) => stride * coords[2 * at(Math.floor(i / 2)) + (i % 2)]!),
    vis: sigmoid(vis),
    conf: sigmoid(conf),
  };
}

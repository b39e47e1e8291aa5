import { InputError } from '../io/errors.ts';
import type { HeadName } from '../models/vggt/predictions.ts';
import type { PointSource } from '../scene/cloud.ts';

/** What a run of VGGT computes. */
export interface VggtPlan {
  readonly heads: readonly HeadName[];
  /** What points are made of; undefined where the checkpoint has nothing for them. */
  readonly source?: PointSource;
  /** What is left out for want of a head, in words for the user. */
  readonly absent: readonly string[];
}

/**
 * Chooses the heads to run of those that a checkpoint has: cameras and depth wherever possible, the point head only where points come from it, tracks where
 * points are given to follow. @throws InputError when a flag asks for a head that is missing
 */
export function planVggt(
  path: string,
  available: readonly HeadName[],
  flags: { readonly points?: PointSource; readonly follows: boolean },
): VggtPlan {
  const found = available.join(', ') || 'none';
  const has = (name: HeadName) => available.includes(name);
  const need = (flag: string, names: readonly HeadName[]) => {
    const missing = names.filter((name) => !has(name));
    if (missing.length === 0) return;
    throw new InputError(`${path}: ${flag} needs the ${missing.join(' and the ')} head, found ${found}.`);
  };
  if (flags.points === 'depth') need('--points depth', ['camera', 'depth']);
  if (flags.points === 'head') need('--points head', ['point']);
  if (flags.follows) need('--query', ['track']);

  const possible = has('camera') && has('depth') ? 'depth' : has('point') ? 'head' : undefined;
  const source = flags.points ?? possible;
  const heads = available.filter((name) => {
    if (name === 'point') return source === 'head';
    return name !== 'track' || flags.follows;
  });
  if (heads.length === 0) {
    throw new InputError(`${path}: expected a VGGT with a camera, depth or point head, found ${found}.`);
  }
  const absent = [
    ...(has('camera') ? [] : ['no camera head: no cameras and no COLMAP model']),
    ...(has('depth') ? [] : ['no depth head: no depth maps']),
    ...(source === undefined ? ['no points, which need a camera and a depth head or a point head'] : []),
  ];
  return { heads, absent, ...(source !== undefined && { source }) };
}

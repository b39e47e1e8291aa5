import { InputError } from '../io/errors.ts';
import type { OutputFolder } from '../io/output_folder.ts';
import type { LoadedModel } from '../models/load.ts';
import type { PreparedInput } from '../models/prepare.ts';
import { SpatialStack } from '../models/spatialstack/model.ts';
import type { VGGT } from '../models/vggt/vggt.ts';
import { withInterrupt } from './interrupt.ts';
import type { Progress } from './progress.ts';
import { writeSceneFolder } from './scene_output.ts';
import { nameOf } from './session.ts';
import { planVggt } from './vggt_plan.ts';

/** The heads that are worth loading beside an answer. */
export const GEOMETRY_HEADS = ['camera', 'depth', 'point'] as const;

/** Share of the least confident points that is left out, in percent; as in `vggt`. */
const CONF_PERCENTILE = 25;

/** The geometry encoder of a model, with at least one head. @throws InputError where there is none */
export function geometryEncoder({ model, path }: LoadedModel): VGGT {
  const vggt = model instanceof SpatialStack ? model.vggt : undefined;
  if (vggt === undefined)
    throw new InputError(`${path}: --save-geometry needs a SpatialStack with a VGGT, found none.`);
  planVggt(path, vggt.heads, { follows: false });
  return vggt;
}

/**
 * Predicts cameras, depth and points for the frames of a prompt and writes them as `vggt` does; the first frame is the frame of reference.
 * @returns false when Ctrl-C ended it, which leaves nothing
 */
export async function saveGeometry(
  loaded: LoadedModel,
  { input, frames }: PreparedInput,
  output: OutputFolder,
  names: readonly string[],
  progress: Progress,
): Promise<boolean> {
  const vggt = geometryEncoder(loaded);
  const { heads, source, absent } = planVggt(loaded.path, vggt.heads, { follows: false });
  for (const line of absent) progress.line(line);
  const controller = new AbortController();
  const { signal } = controller;
  try {
    await withInterrupt(controller, async () => {
      const done = progress.step('cameras and depth');
      const predictions = await vggt.predict(input.geometry!, { heads, onPhase: () => signal.throwIfAborted() });
      done();
      const cloud = source && { source, confPercentile: CONF_PERCENTILE };
      const options = { title: nameOf(output.path), ...(cloud && { cloud }) };
      await writeSceneFolder(output, { frames, names, predictions }, options, { progress, signal });
    });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

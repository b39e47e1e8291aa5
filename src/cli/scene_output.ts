import { type OutputFolder, writeOutputFolder } from '../io/output_folder.ts';
import type { Scene } from '../scene/scene.ts';
import { SCENE_FILES, type WriteOptions, writeScene } from '../scene/write.ts';
import type { Progress } from './progress.ts';

/** Writes a scene into an output folder under progress; an abort ends it between two parts and leaves nothing. @returns the points of its cloud */
export async function writeSceneFolder(
  output: OutputFolder,
  scene: Scene,
  options: Omit<WriteOptions, 'onPart'>,
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<number> {
  const done = progress.step(`writing ${output.path}`);
  let points = 0;
  await writeOutputFolder(output, SCENE_FILES, async (folder) => {
    const onPart = (part: string) => {
      signal.throwIfAborted();
      progress.show(`writing ${output.path}: ${part} …`);
    };
    points = await writeScene(folder, scene, { ...options, onPart });
    signal.throwIfAborted();
  });
  done();
  return points;
}

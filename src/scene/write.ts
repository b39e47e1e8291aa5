import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jsonText } from '../io/json_text.ts';
import { npyBytes } from '../io/npy.ts';
import { grey16Png, rgbPng } from '../io/png.ts';
import { camerasJson } from './cameras_json.ts';
import { buildCloud, type Cloud, type CloudOptions, thinned } from './cloud.ts';
import { colmapModel } from './colmap.ts';
import { type DepthRange, depthColours, depthIntegers, depthRange, shownDepth } from './depth_pictures.ts';
import { frustumDepth } from './frustum.ts';
import { writeGlb } from './glb.ts';
import { writePly } from './ply.ts';
import { frameName, type Scene, type SceneCamera, sceneCameras } from './scene.ts';
import { trackPicture, tracksJson } from './tracks.ts';
import { writeViewer } from './viewer.ts';

/** Everything that `writeScene` may write into a folder. */
export const SCENE_FILES = [
  'cameras.json',
  'images',
  'depth',
  'depth_color',
  'points.ply',
  'points.glb',
  'colmap',
  'tracks.json',
  'tracks',
  'viewer.html',
] as const;

/** COLMAP's text format takes some 100 bytes a point, and its programs expect sparse points. */
const MOST_COLMAP_POINTS = 100_000;

/** How a scene is written. */
export interface WriteOptions {
  /** The cloud to write; none where the scene has nothing to make points of. */
  readonly cloud?: CloudOptions;
  /** The name of the scene in the viewer. */
  readonly title: string;
  /** Called before each part with its name; may throw to stop. */
  readonly onPart?: (part: string) => void;
}

/**
 * Writes what is known about a scene into an existing folder: `cameras.json` and the frames always; depth, points, a COLMAP model, tracks and the viewer where
 * the predictions hold what they need. @returns the number of points of the cloud
 */
export async function writeScene(folder: string, scene: Scene, options: WriteOptions): Promise<number> {
  const begin = (part: string) => options.onPart?.(part);
  const { predictions } = scene;
  const range = predictions.depth && depthRange(scene);
  begin('cameras.json');
  await writeFile(join(folder, 'cameras.json'), jsonText(camerasJson(scene, range)));
  begin('images');
  await writeFrames(folder, 'images', scene, (frame) => rgbPng(scene.frames[frame]!));
  if (range) await writeDepth(folder, scene, range, begin);
  if (predictions.track) {
    begin('tracks');
    await writeFile(join(folder, 'tracks.json'), jsonText(tracksJson(scene)));
    await writeFrames(folder, 'tracks', scene, (frame) => rgbPng(trackPicture(scene, frame)));
  }
  if (options.cloud === undefined) return 0;
  const cloud = buildCloud(scene, options.cloud);
  await writeCloud(folder, scene, cloud, options.title, begin);
  return cloud.count;
}

async function writeDepth(
  folder: string,
  scene: Scene,
  range: DepthRange,
  begin: (part: string) => void,
): Promise<void> {
  const { width, height } = scene.frames[0]!;
  begin('depth');
  await writeFrames(folder, 'depth', scene, (frame) => grey16Png(depthIntegers(scene, frame, range), width, height));
  for (const frame of scene.frames.keys()) {
    const bytes = npyBytes(shownDepth(scene, frame), [height, width]);
    await writeFile(join(folder, 'depth', `${frameName(frame)}.npy`), bytes);
  }
  begin('depth_color');
  await writeFrames(folder, 'depth_color', scene, (frame) => rgbPng(depthColours(scene, frame, range)));
}

async function writeCloud(
  folder: string,
  scene: Scene,
  cloud: Cloud,
  title: string,
  begin: (part: string) => void,
): Promise<void> {
  const { width, height } = scene.frames[0]!;
  const cameras = (sceneCameras(scene) ?? []).filter((camera): camera is SceneCamera => camera !== undefined);
  const depth = frustumDepth(cloud, cameras);
  begin('points.ply');
  await writePly(join(folder, 'points.ply'), cloud);
  begin('points.glb');
  await writeGlb(join(folder, 'points.glb'), cloud, { cameras, width, height, depth });
  if (scene.predictions.extrinsic) {
    begin('colmap');
    await mkdir(join(folder, 'colmap'));
    const model = colmapModel(scene, cameras, thinned(cloud, MOST_COLMAP_POINTS));
    for (const [name, text] of Object.entries(model)) await writeFile(join(folder, 'colmap', `${name}.txt`), text);
  }
  begin('viewer.html');
  await writeViewer(join(folder, 'viewer.html'), scene, cloud, { title, cameras, frustumDepth: depth });
}

/** A PNG file for each frame in a folder of their own. */
async function writeFrames(
  folder: string,
  name: string,
  { frames }: Scene,
  png: (frame: number) => Promise<Buffer>,
): Promise<void> {
  await mkdir(join(folder, name));
  for (const frame of frames.keys()) await writeFile(join(folder, name, `${frameName(frame)}.png`), await png(frame));
}

import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { InputError } from '../io/errors.ts';
import { cachedDatasetPath } from '../io/hub.ts';
import { findBenchmarks } from './benchmarks.ts';
import type { Task } from './task.ts';

/** Where a task's documents and the files they name are. */
export interface Location {
  /** The folder that holds the documents, and pictures that are files. */
  readonly folder: string;
  /** Folders in which videos are looked for, in order. */
  readonly videoFolders: readonly string[];
}

/** Folders given by hand (`--dataset-dir`), by the name of a task or of a group. */
export type GivenFolders = Readonly<Record<string, string>>;

/**
 * Finds a task's dataset: the folder given for it, else where the original looks: the folder of a saved dataset relative to
 * the working folder, or the hub cache, whose videos lie under HF_HOME. @throws InputError if there is none
 */
export async function locate(task: Task, given: GivenFolders): Promise<Location> {
  const { path, layout, videoFolder } = task.dataset;
  const own = givenFolder(task, given);
  if (own !== undefined || layout === 'disk') {
    const folder = expandHome(own ?? path);
    if (!(await isFolder(folder))) {
      throw new InputError(
        `${task.name}: expected a dataset folder at ${folder}, found none; --dataset-dir ${task.name}=FOLDER names another.`,
      );
    }
    const inside = videoFolder === undefined ? [] : [videoFolder, basename(videoFolder)];
    return { folder, videoFolders: [folder, ...new Set(inside.map((name) => join(folder, name)))] };
  }
  const { repository, snapshot } = await cachedDatasetPath(path);
  if (snapshot === undefined) {
    throw new InputError(
      `${task.name}: expected the dataset ${path} in the hub cache ${repository}, found no snapshot; download it with "hf download --repo-type dataset ${path}", or name a folder with --dataset-dir ${task.name}=FOLDER.`,
    );
  }
  const home = expandHome(process.env.HF_HOME || '~/.cache/huggingface');
  return { folder: snapshot, videoFolders: videoFolder === undefined ? [] : [join(home, videoFolder), snapshot] };
}

/** The folder given for a task, or its subset's folder in the one given for its group. */
function givenFolder(task: Task, given: GivenFolders): string | undefined {
  const own = given[task.name];
  if (own !== undefined) return own;
  for (const [name, folder] of Object.entries(given)) {
    const benchmark = findBenchmarks([name])[0]!;
    if (benchmark.isGroup && benchmark.tasks.includes(task)) return join(folder, basename(task.dataset.path));
  }
  return undefined;
}

function expandHome(path: string): string {
  return path.replace(/^~(?=$|\/)/, homedir());
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

import { randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { InputError } from '../io/errors.ts';
import { createFolders } from '../io/output_file.ts';
import { show } from '../io/strict_json.ts';
import type { GenerationSettings } from './task_config.ts';

/** How many documents a task has, and how many of them are asked: the first ones. */
export interface TaskCount {
  readonly original: number;
  readonly asked: number;
}

/** What is asked of which model: all that decides a run's results. */
export interface RunDescription {
  readonly format: 1;
  /** Names of tasks and groups, sorted. */
  readonly benchmarks: readonly string[];
  readonly model: string;
  readonly model_args: string;
  /** The checkpoint as it was named: a folder or a hub id. */
  readonly model_name: string;
  readonly dtype: string;
  readonly gen_kwargs: GenerationSettings;
  readonly limit: number | null;
  readonly system: string | null;
  readonly shuffle: boolean;
  readonly tasks: Readonly<Record<string, TaskCount>>;
}

/** The description of a run, and when it began. */
export interface RunFile extends RunDescription {
  /** The stamp of its result files. */
  readonly date: string;
  /** Seconds since 1970. */
  readonly began: number;
}

const NAME = 'run.json';

/** Reads a run's description; `undefined` if the folder holds no run. @throws InputError if the file is damaged */
export async function readRunFile(folder: string): Promise<RunFile | undefined> {
  const path = join(folder, NAME);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new InputError(`${path} cannot be read (${message}).`);
  }
  try {
    const run = JSON.parse(text) as RunFile;
    if (run.format === 1) return run;
  } catch {
    // told below
  }
  throw new InputError(`${path}: expected the description of a run, found ${show(text.slice(0, 40))}.`);
}

/**
 * Agrees with the run's other processes on its description: the first one writes the file, the others must mean the same.
 * @throws InputError naming what differs
 */
export async function agreeOnRun(folder: string, mine: RunFile): Promise<RunFile> {
  const temporary = join(folder, `${NAME}.${randomUUID()}.tmp`);
  try {
    await createFolders(folder);
    await writeFile(temporary, `${JSON.stringify(mine, null, 2)}\n`);
    await link(temporary, join(folder, NAME));
    return mine;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') {
      throw new InputError(`${folder}: expected a folder that can be written, found ${code ?? message}.`);
    }
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
  const theirs = (await readRunFile(folder))!;
  const { date: _, began: __, ...description } = mine;
  for (const [key, value] of Object.entries(description)) {
    const found = (theirs as unknown as Record<string, unknown>)[key];
    if (isDeepStrictEqual(found, value)) continue;
    throw new InputError(
      `${join(folder, NAME)}: expected the run that is asked for now, with ${key} ${JSON.stringify(value)}, found one with ${JSON.stringify(found)}; choose another --output-dir for another run.`,
    );
  }
  return theirs;
}

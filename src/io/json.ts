import { join } from 'node:path';
import { InputError } from './errors.ts';
import { readTextFile, readTextFileIfPresent } from './text_file.ts';

/** The value in a JSON file; a missing, unreadable, too large (over 64 MiB) or malformed file is refused. */
export async function readJsonFile(path: string): Promise<unknown> {
  return parseJson(await readTextFile(path), path);
}

/** As {@link readJsonFile}, but `undefined` if there is no file of that name. */
export async function readJsonFileIfPresent(path: string): Promise<unknown> {
  const text = await readTextFileIfPresent(path);
  return text === undefined ? undefined : parseJson(text, path);
}

/** The value in the `config.json` of a checkpoint's folder. */
export function loadConfigJson(dir: string): Promise<unknown> {
  return readJsonFile(join(dir, 'config.json'));
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${path} must be JSON (${(error as Error).message}).`);
  }
}

import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { InputError } from './errors.ts';

/** Creates a folder and its parents; returns the first that was missing. Unlike `mkdir` with `recursive` it also ends where the system lets nobody create any, as in /proc. */
export async function createFolders(path: string): Promise<string | undefined> {
  try {
    await mkdir(path);
    return path;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return undefined;
    const parent = dirname(path);
    if (code !== 'ENOENT' || (await isPresent(parent))) throw error;
    const first = await createFolders(parent);
    await mkdir(path);
    return first;
  }
}

function isPresent(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Finds out whether a file can be written at `path` by creating one beside it, parent folders included, and removing all of it again.
 * Called before long work, so that its result is not lost. @throws InputError
 */
export async function checkWritable(flag: string, path: string): Promise<void> {
  const refuse = (found: string): never => {
    throw new InputError(`${flag} ${path}: expected a place where a file can be written, found ${found}.`);
  };
  const present = await stat(path).catch(() => undefined);
  if (path === '' || path.endsWith('/') || present?.isDirectory()) refuse('a folder');
  if (present !== undefined && !present.isFile()) refuse('something that is no regular file');
  const probe = `${path}.${randomUUID()}.tmp`;
  let created: string | undefined;
  try {
    created = await createFolders(dirname(path));
    await (await open(probe, 'wx')).close();
  } catch (error) {
    refuse((error as NodeJS.ErrnoException).code ?? (error as Error).message);
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
    if (created !== undefined) await rm(created, { recursive: true, force: true });
  }
}

/** Writes text to `path`, parent folders created: into a temporary file beside it that takes its name once it is complete. */
export async function writeTextFile(path: string, text: string): Promise<void> {
  await createFolders(dirname(path));
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { InputError } from '../io/errors.ts';

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
    created = await mkdir(dirname(path), { recursive: true });
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
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

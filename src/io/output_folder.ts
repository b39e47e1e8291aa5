import { randomUUID } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { InputError } from './errors.ts';
import { checkWritable, createFolders } from './output_file.ts';

/** An output folder that a flag names. */
export interface OutputFolder {
  readonly path: string;
  /** The flag, for messages. */
  readonly flag: string;
  /** Whether results that already stand there may be replaced. */
  readonly force: boolean;
}

/** Finds out, before long work, whether a folder of results can be written: without `force` nothing may stand there. @throws InputError */
export async function checkOutputFolder({ path, flag, force }: OutputFolder): Promise<void> {
  const present = await stat(path).catch(() => undefined);
  if (present !== undefined && !present.isDirectory()) {
    throw new InputError(`${flag} ${path}: expected a folder, found something else of that name.`);
  }
  if (present !== undefined && !force) {
    throw new InputError(
      `${flag} ${path}: expected a folder that does not exist yet, found one; --force replaces its results.`,
    );
  }
  await checkWritable(flag, present === undefined ? resolve(path) : join(path, 'results'));
}

/**
 * Lets `write` fill a temporary folder beside the wanted one, which takes its place once everything is there; where `write` fails, nothing is left and what
 * stood there is untouched. Of a folder that exists only the entries named in `results` are replaced. @throws InputError
 */
export async function writeOutputFolder(
  output: OutputFolder,
  results: readonly string[],
  write: (folder: string) => Promise<void>,
): Promise<void> {
  await checkOutputFolder(output);
  const target = resolve(output.path);
  const temporary = `${target}.${randomUUID()}.tmp`;
  try {
    await createFolders(temporary);
    await write(temporary);
    const isNew = await stat(target).then(
      () => false,
      () => true,
    );
    if (isNew) return await rename(temporary, target);
    for (const name of results) await rm(join(target, name), { recursive: true, force: true });
    for (const name of await readdir(temporary)) await rename(join(temporary, name), join(target, name));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

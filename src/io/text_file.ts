import { open } from 'node:fs/promises';
import { InputError } from './errors.ts';

/** The largest text file that is read whole: a tokenizer of a quarter of a million tokens has about 20 MB. */
const MAX_BYTES = 64 * 2 ** 20;

/**
 * The text of a UTF-8 file (a byte order mark is dropped), or `undefined` if there is no file of that name.
 * Refuses what is not a regular file, is larger than 64 MiB or is not UTF-8.
 */
export async function readTextFileIfPresent(path: string): Promise<string | undefined> {
  try {
    const file = await open(path, 'r');
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new InputError(`${path} must be a file.`);
      if (stat.size > MAX_BYTES) throw new InputError(`${path} must have at most 64 MiB, found ${stat.size} bytes.`);
      return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile());
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') throw new InputError(`${path} must be UTF-8 text.`);
    throw new InputError(`${path} cannot be read (${(error as Error).message}).`);
  }
}

/** As {@link readTextFileIfPresent}; a missing file is refused. */
export async function readTextFile(path: string): Promise<string> {
  const text = await readTextFileIfPresent(path);
  if (text === undefined) throw new InputError(`${path} does not exist.`);
  return text;
}

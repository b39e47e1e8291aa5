import { type FileHandle, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../io/errors.ts';
import { show } from '../io/strict_json.ts';
import type { Doc } from './document.ts';

/** A line of a journal: a document that was answered, with its columns but for pictures, or one that failed. */
export type Entry = {
  readonly task: string;
  readonly doc_id: number;
  /** Seconds since the run began. */
  readonly at: number;
} & ({ readonly doc: Doc; readonly response: string } | { readonly error: string });

/** An entry with the file and line it stands in. */
export interface Read {
  readonly entry: Entry;
  readonly where: string;
}

/** Which part of a run a process does: documents number `rank`, `rank` + `world`, … */
export interface Shard {
  readonly rank: number;
  readonly world: number;
}

/** The journal of one rank in a run's folder. */
export function journalPath(folder: string, { rank, world }: Shard): string {
  return join(folder, `journal-${rank}-of-${world}.jsonl`);
}

/** Names of journals. */
export const JOURNAL = /^journal-\d+-of-\d+\.jsonl$/;

/** A journal being written: each entry is on the disk before `append` returns. */
export class Journal {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Opens a journal for appending; a last line that was cut off, by a kill or a full disk, is removed. */
  static async open(path: string): Promise<Journal> {
    const file = await open(path, 'a+');
    const text = await file.readFile();
    const end = text.lastIndexOf('\n') + 1;
    if (end < text.length) await file.truncate(end);
    return new Journal(file);
  }

  async append(entry: Entry): Promise<void> {
    await this.#file.appendFile(`${JSON.stringify(entry)}\n`);
    await this.#file.datasync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** All entries of a run, journal by journal; a last line that is cut off does not count. @throws InputError naming file and line */
export async function readJournals(folder: string): Promise<Read[]> {
  const names = (await readdir(folder)).filter((name) => JOURNAL.test(name)).sort();
  const entries: Read[] = [];
  for (const name of names) {
    const path = join(folder, name);
    const lines = (await readFile(path, 'utf8')).split('\n').slice(0, -1);
    lines.forEach((line, i) => {
      const where = `${path} line ${i + 1}`;
      entries.push({ entry: parseEntry(line, where), where });
    });
  }
  return entries;
}

function parseEntry(line: string, where: string): Entry {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new InputError(`${where}: expected JSON (${(error as Error).message}).`);
  }
  const { task, doc_id, at, doc, response, error } = (value ?? {}) as Record<string, unknown>;
  const isAnswer = typeof doc === 'object' && doc !== null && typeof response === 'string';
  const isWhole = typeof task === 'string' && Number.isSafeInteger(doc_id) && typeof at === 'number';
  if (isWhole && (isAnswer || typeof error === 'string')) return value as Entry;
  throw new InputError(`${where}: expected an entry of a journal, found ${show(value)}.`);
}

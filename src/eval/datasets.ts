import { access, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { InputError } from '../io/errors.ts';
import { readJsonFileIfPresent } from '../io/json.ts';
import { readArrow } from './datasets/arrow.ts';
import { readJsonLines } from './datasets/json_lines.ts';
import { openParquet } from './datasets/parquet.ts';
import type { Doc } from './document.ts';

/** The documents of one split, in the order of the dataset. */
export interface Dataset {
  readonly count: number;
  /** A document with its pictures; documents asked in order are read fastest. */
  document(index: number): Promise<Doc>;
}

/**
 * Opens a local folder: what `save_to_disk` of Hugging Face datasets wrote (a dataset, or a dictionary of splits), or else
 * the split's parquet files, or else its JSON lines. @throws InputError if there is none of them
 */
export async function openDataset(folder: string, split: string): Promise<Dataset> {
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory()) throw new InputError(`The dataset folder ${folder} does not exist.`);
  const saved = (await savedFiles(join(folder, split))) ?? (await savedFiles(folder));
  if (saved !== undefined) return joined(await Promise.all(saved.map(readArrow)));
  const names = await readdir(folder, { recursive: true });
  const parquet = ofSplit(names, '.parquet', split);
  if (parquet.length > 0) return joined(await Promise.all(parquet.map((name) => openParquet(join(folder, name)))));
  const lines = ofSplit(names, '.jsonl', split);
  if (lines.length > 0) return joined(await Promise.all(lines.map((name) => jsonLines(join(folder, name)))));
  throw new InputError(
    `The dataset folder ${folder} must hold a saved dataset, *.parquet or *.jsonl files, found none of them.`,
  );
}

/** The first of the paths at which there is something. */
export async function findFile(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const exists = await access(path).then(
      () => true,
      () => false,
    );
    if (exists) return path;
  }
  return undefined;
}

/** The Arrow files that a saved dataset's `state.json` lists, in its order; `undefined` if the folder is none. */
async function savedFiles(folder: string): Promise<string[] | undefined> {
  const path = join(folder, 'state.json');
  const state = (await readJsonFileIfPresent(path)) as { _data_files?: { filename?: unknown }[] } | null | undefined;
  if (state === undefined) return undefined;
  const files = Array.isArray(state?._data_files) ? state._data_files.map((file) => file?.filename) : [];
  if (files.length === 0 || !files.every((name) => typeof name === 'string')) {
    throw new InputError(`${path} must list the dataset's files under _data_files.`);
  }
  return files.map((name) => join(folder, basename(name)));
}

/**
 * The files of one kind that belong to a split, sorted by name: `test.parquet` or `test-00000-of-00003.parquet` if there is
 * such a one, else those with the split as a word in their path (`test_2d.parquet`), else all.
 */
function ofSplit(names: readonly string[], ending: string, split: string): string[] {
  const files = names.filter((name) => name.endsWith(ending) && !/(^|\/)\./.test(name)).sort();
  const whole = files.filter((name) => new RegExp(`(^|/)${split}(-\\d+-of-\\d+)?\\${ending}$`).test(name));
  const named = files.filter((name) => new RegExp(`(^|[-._ /\\d])${split}([-._ /\\d])`).test(name));
  return [whole, named].find((some) => some.length > 0) ?? files;
}

async function jsonLines(path: string): Promise<Part> {
  const lines = await readJsonLines(path);
  return { count: lines.length, row: (index) => lines[index]!.value };
}

/** Some rows of a dataset: a file. */
interface Part {
  readonly count: number;
  row(index: number): Doc | Promise<Doc>;
}

function joined(parts: readonly Part[]): Dataset {
  return {
    count: parts.reduce((sum, part) => sum + part.count, 0),
    async document(index) {
      let row = index;
      for (const part of parts) {
        if (row < part.count) return part.row(row);
        row -= part.count;
      }
      throw new RangeError(`the dataset has no document ${index}`);
    },
  };
}

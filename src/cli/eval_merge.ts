import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mergeRun, type WrittenResults } from '../eval/merge.ts';
import { readRunFile } from '../eval/run_file.ts';
import { printTables } from './eval_table.ts';

/** Runs `eval --merge`: on the folder of a run, or on one whose folders are runs, as OUTPUT_PATH is. @returns the exit code */
export async function mergeCommand(folder: string): Promise<number> {
  for (const run of await runsIn(folder)) tell(await mergeRun(run));
  return 0;
}

/** Failed documents that are told one by one; all of them are in the results file. */
const MOST_TOLD = 10;

/** Prints the results of a run; on standard error, the documents that failed. */
export function tell({ document, files, errors }: WrittenResults): void {
  const stderr = (line: string) => process.stderr.write(`${line}\n`);
  for (const { task, docId, error } of errors.slice(0, MOST_TOLD)) stderr(`${task} document ${docId} failed: ${error}`);
  if (errors.length > MOST_TOLD) stderr(`… and ${errors.length - MOST_TOLD} more, listed in ${files[0]}`);
  const documents = errors.length === 1 ? 'document' : 'documents';
  if (errors.length > 0)
    stderr(`${errors.length} ${documents} failed and ${errors.length === 1 ? 'does' : 'do'} not count.`);
  printTables(document, files);
}

/** The folder itself unless it holds no run and folders in it do. */
async function runsIn(folder: string): Promise<string[]> {
  if ((await readRunFile(folder)) !== undefined) return [folder];
  const names = await readdir(folder).catch(() => []);
  const inside: string[] = [];
  for (const name of names.sort()) {
    if ((await readRunFile(join(folder, name))) !== undefined) inside.push(join(folder, name));
  }
  return inside.length > 0 ? inside : [folder];
}

import type { ResultsDocument } from '../eval/results.ts';
import { renderTable, resultTables } from '../eval/table.ts';
import { StandardOutput } from './standard_output.ts';

/** Prints the tables of a run's results, and where its files are. */
export function printTables(document: ResultsDocument, files: readonly string[]): void {
  const tables = resultTables(document).map((table) => `${renderTable(table)}\n`);
  new StandardOutput().write(`${tables.join('\n')}\n${files[0]}\n`);
}

import { formatFixed } from './python.ts';
import type { MetricValues, ResultsDocument } from './results.ts';

/** A table of text cells. */
export interface Table {
  readonly headers: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Columns whose cells are aligned to the right: n-shot, Value and Stderr. */
const NUMERIC_COLUMNS = [3, 6, 8];

/** The tables printed after a run: one of all results, and one of the groups if there are any. */
export function resultTables(document: ResultsDocument): Table[] {
  const tables = [tableOf('Tasks', document.results, document)];
  if (document.groups !== undefined) tables.push(tableOf('Groups', document.groups, document));
  return tables;
}

/** Markdown, the columns padded to the same width. */
export function renderTable({ headers, rows }: Table): string {
  const widths = headers.map((header, i) => Math.max(3, header.length, ...rows.map((row) => row[i]!.length)));
  const isNumeric = (i: number) => NUMERIC_COLUMNS.includes(i);
  const line = (cells: readonly string[]) => `|${cells.join('|')}|`;
  const head = headers.map((header, i) => centred(header, widths[i]!));
  const rule = widths.map((width, i) => (isNumeric(i) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  const body = rows.map((row) =>
    row.map((cell, i) => (isNumeric(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))),
  );
  return [head, rule, ...body].map(line).join('\n');
}

function tableOf(title: string, results: Readonly<Record<string, MetricValues>>, document: ResultsDocument): Table {
  const headers = [title, 'Version', 'Filter', 'n-shot', 'Metric', '', 'Value', '', 'Stderr'];
  const rows = Object.entries(results).flatMap(([name, values]) => {
    const version = document.versions[name] ?? '    N/A';
    const shots = document['n-shot'][name] ?? ' ';
    return metricRows(values).map(([metric, value]) => [
      String(values.alias),
      version,
      'none',
      String(shots),
      metric,
      '↑',
      formatFixed(value, 4),
      '±',
      '   N/A',
    ]);
  });
  return { headers, rows };
}

/** The metrics that have a value, sorted by name. */
function metricRows(values: MetricValues): [string, number][] {
  const rows: [string, number][] = [];
  for (const [key, value] of Object.entries(values)) {
    if (typeof value === 'number') rows.push([key.slice(0, -',none'.length), value]);
  }
  return rows.sort(([a], [b]) => (a < b ? -1 : 1));
}

function centred(text: string, width: number): string {
  return text.padStart(text.length + Math.floor((width - text.length) / 2)).padEnd(width);
}

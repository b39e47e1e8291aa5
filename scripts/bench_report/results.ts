import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Report, type Row, readReport } from '../../src/bench/report.ts';

/** What was measured on one card: the newest report of each kind. */
export interface Results {
  readonly kernels: Report | undefined;
  readonly profiles: readonly Report[];
  readonly models: readonly Report[];
  readonly peers: readonly Report[];
}

const OWN = 'spatialstack';

/** `nvidia-h200` for "NVIDIA H200": engines name one card differently. */
function cardKey(card: string): string {
  return card.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
}

/** The reports of a folder, in the order of their names. @throws InputError */
export async function readReports(folder: string): Promise<Report[]> {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  return Promise.all(files.toSorted().map((name) => readReport(join(folder, name))));
}

/** Results by card. Of reports with the same engine, kind and model the newest counts, of one day the last by file name. */
export function resultsByCard(reports: readonly Report[]): Map<string, Results> {
  const cards = new Map<string, Map<string, Report>>();
  for (const report of reports) {
    const key = cardKey(report.card);
    const newest = cards.get(key) ?? new Map<string, Report>();
    const what = [report.engine.split(' ')[0], report.kind, report.model ?? ''].join('|');
    const known = newest.get(what);
    if (known === undefined || known.date <= report.date) newest.set(what, report);
    cards.set(key, newest);
  }
  const sorted = [...cards].map(([key, newest]): [string, Results] => {
    const all = [...newest.values()];
    const own = all.filter(({ engine }) => engine === OWN);
    return [
      key,
      {
        kernels: own.find(({ kind }) => kind === 'kernels'),
        profiles: own.filter(({ kind }) => kind === 'profile'),
        models: own.filter(({ kind }) => kind === 'model'),
        peers: all.filter(({ engine }) => engine !== OWN),
      },
    ];
  });
  return new Map(sorted.filter(([, { kernels, models }]) => kernels !== undefined || models.length > 0));
}

/** Another engine's fastest time for the same work. */
export function fastestPeer(peers: readonly Report[], kind: Report['kind'], { name, shape }: Row): Row | undefined {
  const rows = peers.filter((report) => report.kind === kind).flatMap((report) => report.rows);
  const same = rows.filter((row) => row.name === name && row.shape === shape && row.milliseconds !== undefined);
  return same.toSorted((a, b) => a.milliseconds! - b.milliseconds!)[0];
}

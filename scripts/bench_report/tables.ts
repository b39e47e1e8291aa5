import type { Report, Row } from '../../src/bench/report.ts';
import { figure, HIGHLIGHTS, type Ladder, ladderOf } from './ladders.ts';
import { fastestPeer, type Results } from './results.ts';

const UNTIMED = '';

function time(ms: number): string {
  if (ms < 1) return `${figure(ms * 1000)} µs`;
  return ms < 1000 ? `${figure(ms)} ms` : `${figure(ms / 1000)} s`;
}

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Where a report comes from: `driver 580, 2026-11-22, commit abc1234`. */
function source({ driver, date, commit }: Report): string {
  return [driver, date, ...(commit === undefined ? [] : [`commit ${commit}`])].join(', ');
}

function rate({ rate: perSecond, rateUnit }: Row): string {
  if (perSecond === undefined || rateUnit === undefined) return '';
  return rateUnit === 'bytes/s' ? `${figure(perSecond / 1e9)} GB/s` : `${figure(perSecond)} ${rateUnit}`;
}

/** The peak of GPU memory and, where it is known, its ratio to what was held of it. */
function peak({ peakBytes, heldBytes }: Row): string {
  if (peakBytes === undefined) return '';
  const ratio = heldBytes === undefined ? '' : ` (${(peakBytes / heldBytes).toFixed(2)}x)`;
  return `${(peakBytes / 2 ** 30).toFixed(2)} GiB${ratio}`;
}

/** Another engine's time and how ours compares, as two cells. */
function beside(milliseconds: number, peer: Row | undefined): [string, string] {
  if (peer === undefined) return ['', ''];
  const ratio = milliseconds / peer.milliseconds!;
  return [`${time(peer.milliseconds!)} (${peer.variant})`, `${ratio.toPrecision(2)}x`];
}

/** A time and what is to be known of it. */
function noted({ milliseconds, note }: { milliseconds?: number; note?: string | undefined }): string {
  return `${time(milliseconds!)}${note === undefined ? '' : ` (${note})`}`;
}

function modelRows({ rows, model = '' }: Report, peers: readonly Report[]): string[][] {
  return rows
    .filter(({ milliseconds }) => milliseconds !== undefined)
    .map((row) => {
      const others = beside(row.milliseconds!, fastestPeer(peers, 'model', row));
      return [model, `${row.name}, ${row.shape}`, noted(row), rate(row), peak(row), ...others];
    });
}

function ladderRow({ name, shape, bound, rungs, unit }: Ladder, peers: readonly Report[]): string[] {
  const best = rungs.toSorted((a, b) => a.milliseconds - b.milliseconds)[0]!;
  const steps = rungs.map(({ variant, value }) => `${variant} ${figure(value)}`).join(' → ');
  const peer = fastestPeer(peers, 'kernels', { name, shape, variant: '' });
  const share = `${(100 * best.share).toFixed(0)} % ${bound}`;
  return [name, shape, `${steps} ${unit}`, noted(best), share, ...beside(best.milliseconds, peer)];
}

/** The README's tables for one card. `plots` are the paths of its pictures, by what they show. */
export function cardSection(card: string, results: Results, plots: ReadonlyMap<string, string>): string {
  const { kernels, models, peers } = results;
  const parts = [`### ${card}`];
  if (models.length > 0) {
    const rows = models.toSorted((a, b) => (a.model ?? '').localeCompare(b.model ?? ''));
    const sources = [...new Set(rows.map((report) => `${report.model}: ${source(report)}`))].join('; ');
    parts.push(
      `Models (${sources}).`,
      table(
        ['model', 'work', 'here', 'rate', 'peak GPU memory (over what is held)', 'others', 'here / others'],
        rows.flatMap((report) => modelRows(report, peers)),
      ),
    );
  }
  if (kernels !== undefined) {
    const { ceiling } = kernels;
    const limits = [
      `${figure((ceiling?.gbps ?? 0) / 1000)} TB/s copied`,
      `${figure(ceiling?.tflops ?? 0)} TFLOP/s of f32 multiply-adds`,
      ...(ceiling?.matrixTflops === undefined ? [] : [`${figure(ceiling.matrixTflops)} TFLOP/s on subgroup matrices`]),
    ];
    const ladders = HIGHLIGHTS.map(([name, shape]) => ladderOf(kernels, name, shape)).filter((found) => found);
    parts.push(
      `Kernels (${source(kernels)}; ceilings: ${limits.join(', ')}; the share is that of the fastest rung).`,
      table(
        ['kernel', 'shape', 'rungs', 'fastest', 'share', 'others', 'here / others'],
        ladders.map((ladder) => ladderRow(ladder!, peers)),
      ),
    );
  }
  if (plots.size > 0) parts.push([...plots].map(([title, path]) => `![${title}](${path})`).join('\n'));
  if (peers.length > 0) {
    const named = peers.map(({ engine, kind, model, date, note = UNTIMED }) => {
      const about = note === UNTIMED ? '' : `: ${note}`;
      return `${engine}, ${model ?? kind}, ${date}${about}`;
    });
    parts.push(`Others: ${named.join(' · ')}`);
  }
  return parts.join('\n\n');
}

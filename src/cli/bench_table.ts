import { type ComparedRow, compareRows } from '../bench/compare.ts';
import type { Report, Row } from '../bench/report.ts';
import { bytes, count, memory } from './format.ts';

/** A column of figures. */
interface Column {
  readonly title: string;
  readonly width: number;
  readonly cell: (row: Row) => string;
}

/** What identifies a row. */
type Named = Pick<Row, 'name' | 'variant' | 'shape'>;

/** A time with three digits, in the unit that suits it. */
export function time(ms: number | undefined): string {
  if (ms === undefined) return '-';
  if (ms < 1) return `${(ms * 1000).toPrecision(3)} µs`;
  return ms < 1000 ? `${ms.toPrecision(3)} ms` : `${(ms / 1000).toPrecision(3)} s`;
}

/** Three digits, without an exponent. */
function figure(value: number | undefined): string {
  if (value === undefined || value === 0) return '-';
  if (value >= 1000) return count(Math.round(value));
  return value < 0.001 ? '<0.001' : Number(value.toPrecision(3)).toString();
}

function share({ ceiling, shareOfCeiling }: Row): string {
  return shareOfCeiling === undefined ? '-' : `${(100 * shareOfCeiling).toFixed(1)} % ${ceiling ?? ''}`.trimEnd();
}

/** The peak beside what weights, caches and activations held of it. */
function overHeld({ peakBytes, heldBytes }: Row): string {
  return peakBytes === undefined || heldBytes === undefined ? '-' : `${(peakBytes / heldBytes).toFixed(2)} x`;
}

const TIME: Column = { title: 'time', width: 9, cell: ({ milliseconds }) => time(milliseconds) };
const SHARE: Column = { title: 'of the ceiling', width: 15, cell: share };

/** Figures of `bench kernels`. */
export const KERNEL_COLUMNS: readonly Column[] = [
  TIME,
  { title: 'TFLOP/s', width: 8, cell: ({ tflops }) => figure(tflops) },
  { title: 'GB/s', width: 8, cell: ({ gbps }) => figure(gbps) },
  SHARE,
  { title: 'error', width: 8, cell: ({ error }) => (error === undefined ? '-' : error.toExponential(1)) },
];

/** Figures of `bench model`. */
export const MODEL_COLUMNS: readonly Column[] = [
  TIME,
  { title: 'peak memory', width: 11, cell: ({ peakBytes }) => (peakBytes === undefined ? '-' : memory(peakBytes)) },
  { title: 'of what is held', width: 15, cell: overHeld },
  {
    title: 'rate',
    width: 18,
    cell: ({ rate, rateUnit }) => {
      if (rate === undefined) return '-';
      return rateUnit === 'bytes/s' ? `${bytes(rate)}/s` : `${figure(rate)} ${rateUnit}`;
    },
  },
];

/** Figures of `bench profile`; `total` is the time of the whole pass. */
export function profileColumns(total: number): readonly Column[] {
  const part = ({ milliseconds = 0 }: Row) => `${((100 * milliseconds) / total).toFixed(1)} %`;
  return [
    { title: 'count', width: 6, cell: (row) => count(row.count ?? 0) },
    TIME,
    { title: 'of all', width: 7, cell: part },
    { title: 'GFLOP', width: 9, cell: ({ flops = 0 }) => figure(flops / 1e9) },
    { title: 'MB', width: 9, cell: (row) => figure((row.bytes ?? 0) / 1e6) },
    { title: 'TFLOP/s', width: 8, cell: ({ tflops }) => figure(tflops) },
    { title: 'GB/s', width: 8, cell: ({ gbps }) => figure(gbps) },
    SHARE,
  ];
}

/** A table whose rows are written as they are measured: names are known from the start, figures have columns of one width. */
export class BenchTable {
  readonly #widths: readonly number[];
  readonly #columns: readonly Column[];
  readonly #compared: Report | undefined;
  readonly #percent: number | undefined;

  constructor(
    titles: readonly [string, string, string],
    names: readonly Named[],
    columns: readonly Column[],
    comparison?: { readonly old: Report; readonly percent?: number | undefined },
  ) {
    const cells = [titles, ...names.map(({ name, variant, shape }) => [name, variant, shape])];
    this.#widths = [0, 1, 2].map((i) => Math.max(...cells.map((row) => row[i]!.length)));
    this.#columns = columns;
    this.#compared = comparison?.old;
    this.#percent = comparison?.percent;
    this.header = this.#line(
      titles,
      columns.map(({ title }) => title),
      comparison && '  against old',
    );
  }

  readonly header: string;

  /** The row as a line; a regression is marked. */
  line(row: Row): string {
    const compared = this.compare(row);
    const cells = this.#columns.map(({ cell }) => cell(row));
    return this.#line([row.name, row.variant, row.shape], cells, this.#ratio(compared), row.note);
  }

  /** The row beside its older self. */
  compare(row: Row): ComparedRow {
    if (this.#compared === undefined) return { row, isRegression: false };
    return compareRows([row], this.#compared, this.#percent)[0]!;
  }

  #ratio({ ratio, isRegression }: ComparedRow): string | undefined {
    if (this.#compared === undefined) return undefined;
    return ratio === undefined ? '          -' : `${ratio.toFixed(2).padStart(9)} x${isRegression ? '  SLOWER' : ''}`;
  }

  #line(names: readonly string[], figures: readonly string[], ratio?: string, note?: string): string {
    const left = names.map((text, i) => text.padEnd(this.#widths[i]!)).filter((_, i) => this.#widths[i]! > 0);
    const right = figures.map((text, i) => text.padStart(this.#columns[i]!.width));
    return [...left, ...right, ...(ratio === undefined ? [] : [ratio]), ...(note === undefined ? [] : [note])]
      .join('  ')
      .trimEnd();
  }
}

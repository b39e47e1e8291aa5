import { InputError } from '../io/errors.ts';
import { readJsonFile } from '../io/json.ts';
import { JsonFields } from '../io/json_fields.ts';
import type { Bound } from './roofline.ts';

/** What a device can do at most, measured. */
export interface Ceiling {
  /** GB/s read and written by a copy larger than the caches. */
  readonly gbps: number;
  /** TFLOP/s of f32 fused multiply-adds in registers. */
  readonly tflops: number;
  /** TFLOP/s of f16 products with f32 sums on subgroup matrices in registers, where the device has them. */
  readonly matrixTflops?: number;
}

/** One measured piece of work. Name, variant and shape identify it across reports; other engines write the same names and shapes. */
export interface Row {
  /** The kernel (`matmul`) or the part of a model (`prefill`). */
  readonly name: string;
  /** Which way it was computed; of a model the checkpoint's kind. */
  readonly variant: string;
  readonly shape: string;
  /** Median of a kernel's GPU time; of a model the best of a few runs by the clock. Absent if it was not timed. */
  readonly milliseconds?: number;
  readonly samples?: number;
  readonly tflops?: number;
  readonly gbps?: number;
  readonly ceiling?: Bound;
  readonly shareOfCeiling?: number;
  /** Relative L2 distance to the CPU twin, and the smaller shape at which it was asked. */
  readonly error?: number;
  readonly errorShape?: string;
  /** Tokens, pictures, frames or bytes per second, of a model. */
  readonly rate?: number;
  readonly rateUnit?: string;
  /** GPU memory at the peak while it was measured, weights included, of a model. */
  readonly peakBytes?: number;
  /** The most of it that weights, caches and activations held at a time. */
  readonly heldBytes?: number;
  /** One kernel's part of a profiled pass: dispatches, FLOPs and bytes. */
  readonly count?: number;
  readonly flops?: number;
  readonly bytes?: number;
  /** Why something is missing. */
  readonly note?: string;
}

/** What `bench --json` writes, and `--compare`, bench/results and bench/peers have in common. */
export interface Report {
  readonly kind: 'kernels' | 'model' | 'profile';
  /** What ran the work: `spatialstack`, or a peer with its version. */
  readonly engine: string;
  readonly card: string;
  readonly driver: string;
  /** Day of the measurement, UTC: 2026-11-22. */
  readonly date: string;
  /** Of this repository, where it is known. */
  readonly commit?: string;
  /** Kind of checkpoint and precision, of a model. */
  readonly model?: string;
  readonly dtype?: string;
  readonly ceiling?: Ceiling;
  /** How it was measured, where that needs saying. */
  readonly note?: string;
  readonly rows: readonly Row[];
}

const TEXTS = ['errorShape', 'rateUnit', 'note'] as const;
const NUMBERS = [
  'milliseconds',
  'samples',
  'tflops',
  'gbps',
  'shareOfCeiling',
  'error',
  'rate',
  'peakBytes',
  'heldBytes',
  'count',
  'flops',
  'bytes',
] as const;
const BOUNDS = ['memory', 'f32', 'matrix'] as const;
const MOST_ROWS = 100_000;

/** The keys of `names` that an object has. */
function present<Key extends string, T>(names: readonly Key[], read: (name: Key) => T | undefined): { [K in Key]?: T } {
  const found = names.map((name) => [name, read(name)] as const).filter(([, value]) => value !== undefined);
  return Object.fromEntries(found) as { [K in Key]?: T };
}

function required(fields: JsonFields, key: string): string {
  const value = fields.string(key);
  if (value === undefined) throw fields.refusal(key, 'a string');
  return value;
}

function optionalNumber(fields: JsonFields, key: string): number | undefined {
  return fields.get(key) === undefined ? undefined : fields.number(key, { max: Number.MAX_VALUE });
}

function parseRow(value: unknown, source: string): Row {
  const fields = JsonFields.of(value, source);
  return {
    name: required(fields, 'name'),
    variant: required(fields, 'variant'),
    shape: required(fields, 'shape'),
    ...present(TEXTS, (name) => fields.string(name)),
    ...present(NUMBERS, (name) => optionalNumber(fields, name)),
    ...(fields.get('ceiling') === undefined ? {} : { ceiling: fields.oneOf('ceiling', BOUNDS, 'memory') }),
  };
}

/** A report from JSON of whatever origin; `source` names it. @throws InputError */
export function parseReport(value: unknown, source: string): Report {
  const fields = JsonFields.of(value, source);
  const rows = fields.get('rows');
  if (!Array.isArray(rows) || rows.length > MOST_ROWS) throw fields.refusal('rows', `a list of at most ${MOST_ROWS}`);
  const kind = (['kernels', 'model', 'profile'] as const).find((known) => known === fields.get('kind'));
  if (kind === undefined) throw fields.refusal('kind', '"kernels", "model" or "profile"');
  const ceiling = fields.nested('ceiling');
  const rate = (key: string) => ceiling!.number(key, { min: Number.MIN_VALUE, max: Number.MAX_VALUE });
  return {
    kind,
    engine: required(fields, 'engine'),
    card: required(fields, 'card'),
    driver: required(fields, 'driver'),
    date: required(fields, 'date'),
    ...present(['commit', 'model', 'dtype', 'note'] as const, (name) => fields.string(name)),
    ...(ceiling && {
      ceiling: {
        gbps: rate('gbps'),
        tflops: rate('tflops'),
        ...(ceiling.get('matrixTflops') !== undefined && { matrixTflops: rate('matrixTflops') }),
      },
    }),
    rows: rows.map((row, i) => parseRow(row, `${source}: row ${i + 1}`)),
  };
}

/** Reads a report. @throws InputError */
export async function readReport(path: string): Promise<Report> {
  try {
    return parseReport(await readJsonFile(path), path);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${error.message} Expected what bench --json writes.`);
    throw error;
  }
}

/** A report as text: one row a line, so that a change of one figure is a change of one line. */
export function reportJson(report: Report): string {
  const { rows, ...head } = report;
  const text = JSON.stringify({ ...head, rows: [] }, rounded, 2);
  const lines = rows.map((row) => `    ${JSON.stringify(row, rounded)}`);
  return lines.length === 0
    ? `${text}\n`
    : `${text.replace('"rows": []', () => `"rows": [\n${lines.join(',\n')}\n  ]`)}\n`;
}

/** Six digits are more than any timing repeats. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

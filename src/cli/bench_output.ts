import type { Command } from 'commander';
import { NOISE_PERCENT } from '../bench/compare.ts';
import { type Report, type Row, readReport, reportJson } from '../bench/report.ts';
import { InputError } from '../io/errors.ts';
import { checkWritable, writeTextFile } from '../io/output_file.ts';
import type { BenchTable } from './bench_table.ts';
import { INTERRUPTED } from './interrupt.ts';
import { StandardOutput } from './standard_output.ts';
import { decimal, nonEmpty } from './values.ts';

/** Flags that all measuring commands share. */
export interface OutputFlags {
  readonly json?: string;
  readonly compare?: string;
  readonly failOnRegression?: number;
}

/** Adds the flags for what becomes of the measurements. */
export function addOutputFlags(command: Command): Command {
  return command
    .option(
      '--json <file>',
      'write the measurements to this file; - writes them to standard output, and the table to standard error',
      nonEmpty('--json', 'a file or -'),
    )
    .option(
      '--compare <file>',
      'set every row beside that of an earlier --json, or of a script in bench/peers',
      nonEmpty('--compare', 'a file'),
    )
    .option(
      '--fail-on-regression <percent>',
      'with --compare: exit with 1 if a row is slower by more than this',
      decimal('--fail-on-regression', 0, 1e6),
    );
}

/** Where measurements go: a table as they are made, and a file at the end. */
export class BenchOutput {
  readonly #flags: OutputFlags;
  readonly #stdout = new StandardOutput();
  readonly old: Report | undefined;
  #regressions = 0;
  #compared = 0;

  private constructor(flags: OutputFlags, old: Report | undefined) {
    this.#flags = flags;
    this.old = old;
  }

  /** Reads and checks what the flags name, before anything is measured. @throws InputError */
  static async open(flags: OutputFlags, kind: Report['kind']): Promise<BenchOutput> {
    const { json, compare, failOnRegression } = flags;
    if (failOnRegression !== undefined && compare === undefined) {
      throw new InputError('--fail-on-regression: expected --compare beside it, found none.');
    }
    if (json !== undefined && json !== '-') await checkWritable('--json', json);
    const old = compare === undefined ? undefined : await readReport(compare);
    if (old !== undefined && old.kind !== kind) {
      throw new InputError(`--compare ${compare}: expected figures of kind "${kind}", found "${old.kind}".`);
    }
    return new BenchOutput(flags, old);
  }

  /** For a table's constructor. */
  get comparison(): { old: Report; percent: number | undefined } | undefined {
    return this.old && { old: this.old, percent: this.#flags.failOnRegression };
  }

  /** Ends the run when nobody reads the table any more. */
  set onClosed(stop: () => void) {
    this.#stdout.onClosed = stop;
  }

  line(text: string): void {
    if (this.#flags.json === '-') process.stderr.write(`${text}\n`);
    else this.#stdout.write(`${text}\n`);
  }

  row(table: BenchTable, row: Row): void {
    const { ratio, isRegression } = table.compare(row);
    if (ratio !== undefined) this.#compared += 1;
    if (isRegression) this.#regressions += 1;
    this.line(table.line(row));
  }

  /** Writes the report. @returns the exit code */
  async finish(report: Report, { failures = 0, isInterrupted = false } = {}): Promise<number> {
    const { json, failOnRegression } = this.#flags;
    if (this.old !== undefined) {
      const percent = failOnRegression ?? NOISE_PERCENT;
      this.line(`${this.#regressions} of ${this.#compared} rows compared are slower by more than ${percent} %`);
    }
    if (json === '-') this.#stdout.write(reportJson(report));
    else if (json !== undefined) await writeTextFile(json, reportJson(report));
    if (this.#stdout.closedCode !== undefined) return this.#stdout.closedCode;
    if (isInterrupted) return INTERRUPTED;
    return failures > 0 || (failOnRegression !== undefined && this.#regressions > 0) ? 1 : 0;
  }
}

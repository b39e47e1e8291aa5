import { bytes, duration } from './format.ts';

const REDRAW_MS = 100;
const BAR_WIDTH = 24;

/**
 * Progress on standard error. On a terminal the current line is redrawn in place; elsewhere (a pipe, a log file) only finished
 * steps are written, one line each. A quiet one writes nothing.
 */
export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #live: boolean;
  readonly #quiet: boolean;
  #drawn = false;
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(quiet: boolean, stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.#quiet = quiet;
    this.#live = !quiet && stream.isTTY === true;
  }

  /** Whether lines are redrawn in place. */
  get isLive(): boolean {
    return this.#live;
  }

  /** A bar of fixed width. */
  bar(done: number, total: number): string {
    const filled = total === 0 ? 0 : Math.floor((done / total) * BAR_WIDTH);
    return `[${'#'.repeat(filled)}${'-'.repeat(BAR_WIDTH - filled)}]`;
  }

  /** Shows what is going on now, on a terminal only. */
  show(text: string): void {
    if (!this.#live) return;
    const width = (this.#stream.columns || 80) - 1;
    this.#stream.write(`\r\x1b[K${text.slice(0, width)}`);
    this.#drawn = true;
    this.#drawnAt = performance.now();
  }

  /** Writes a finished step as a line that stays. */
  line(text: string): void {
    if (this.#quiet) return;
    this.clear();
    this.#stream.write(`${text}\n`);
  }

  /** Removes the line being redrawn, before something else is written. */
  clear(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[K');
    this.#drawn = false;
    this.#drawnAt = Number.NEGATIVE_INFINITY;
  }

  /** What a model's loader reports to: its bytes, and the kernels that it still waits for when they have arrived. */
  loading(name: string): {
    onProgress: (done: number, total: number) => void;
    onCompile: (done: Promise<void>) => void;
  } {
    return {
      onProgress: this.transfer(`loading ${name}`),
      onCompile: (compiled) => {
        const start = performance.now();
        this.show('compiling kernels');
        const tell = () => this.line(`compiling kernels: ${duration(performance.now() - start)} more`);
        compiled.then(tell, () => this.clear());
      },
    };
  }

  /** A step that moves bytes: a bar with amount and rate while it lasts, one line with both when all have arrived. */
  transfer(title: string): (done: number, total: number) => void {
    const start = performance.now();
    let first: number | undefined;
    let finished = false;
    return (done, total) => {
      // What an earlier run had already fetched does not count for the rate.
      first ??= done < total ? done : 0;
      const elapsed = performance.now() - start;
      const perSecond = bytes(((done - first) / Math.max(elapsed, 1)) * 1000);
      if (done >= total && !finished) {
        finished = true;
        this.line(`${title}: ${bytes(total)} in ${duration(elapsed)} (${perSecond}/s)`);
      } else if (!finished && performance.now() - this.#drawnAt >= REDRAW_MS) {
        this.show(`${title} ${this.bar(done, total)} ${bytes(done)} of ${bytes(total)}, ${perSecond}/s`);
      }
    };
  }

  /** A step of unknown length: its name while it lasts; call the result when it is over. */
  step(title: string): () => void {
    const start = performance.now();
    this.show(`${title} …`);
    return () => this.line(`${title}: ${duration(performance.now() - start)}`);
  }
}

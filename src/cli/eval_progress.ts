import type { ShardObserver } from '../eval/evaluate.ts';
import type { Result, Task } from '../eval/task.ts';
import { metricNames } from '../eval/task_config.ts';
import { count, duration } from './format.ts';
import type { Progress } from './progress.ts';

const REDRAW_MS = 200;
/** Where lines are not redrawn, one is written at every twentieth of the documents, or after a minute. */
const STEPS = 20;
const LINE_MS = 60_000;

/** Tells how a shard goes: a bar with the score so far and the time left. */
export class EvalProgress implements ShardObserver {
  readonly #progress: Progress;
  #total = 0;
  #done = 0;
  #before = 0;
  #failed = 0;
  #start = 0;
  #drawnAt = 0;
  #writtenAt = 0;

  constructor(progress: Progress) {
    this.#progress = progress;
  }

  onMissing(files: readonly string[], documents: number): void {
    this.#progress.clear();
    const lines = files.map((file) => `missing: ${file}\n`).join('');
    const what = `${count(files.length)} ${files.length === 1 ? 'file is' : 'files are'} missing`;
    process.stderr.write(
      `${lines}${what}; ${count(documents)} ${documents === 1 ? 'document' : 'documents'} will fail.\n`,
    );
  }

  onStart(total: number, done: number): void {
    this.#total = total;
    this.#done = done;
    this.#before = done;
    this.#start = performance.now();
    this.#drawnAt = this.#writtenAt = this.#start;
    const before = done === 0 ? '' : `, ${count(done)} of them answered before`;
    this.#progress.line(`${count(total)} documents to ask${before}`);
  }

  onDocument(task: Task, docId: number, results: readonly Result[], error: string | undefined): void {
    this.#done += 1;
    if (error !== undefined) {
      this.#failed += 1;
      this.#progress.line(`${task.name} document ${docId} failed: ${error}`);
    }
    const now = performance.now();
    const step = (documents: number) => Math.floor((documents * STEPS) / this.#total);
    const isStep = step(this.#done) > step(this.#done - 1) || now - this.#writtenAt >= LINE_MS;
    const isLast = this.#done === this.#total;
    if (isLast || (isStep && !this.#progress.isLive)) {
      this.#writtenAt = now;
      this.#progress.line(this.#text(task, results));
    } else if (now - this.#drawnAt >= REDRAW_MS) {
      this.#drawnAt = now;
      this.#progress.show(this.#text(task, results));
    }
  }

  #text(task: Task, results: readonly Result[]): string {
    const elapsed = performance.now() - this.#start;
    const perDocument = elapsed / (this.#done - this.#before);
    const left = this.#total - this.#done;
    return [
      `${count(this.#done)} of ${count(this.#total)} ${this.#progress.bar(this.#done, this.#total)}`,
      score(task, results),
      ...(this.#failed > 0 ? [`${count(this.#failed)} failed`] : []),
      `${duration(perDocument)} each`,
      left > 0 ? `${duration(perDocument * left)} left` : `in ${duration(elapsed)}`,
    ].join(', ');
  }
}

/** The metric that stands for a task: the last it lists, which is the mean where there are several. */
function score(task: Task, results: readonly Result[]): string {
  const metric = metricNames(task.config).at(-1)!;
  const value = task.aggregate(results).values.get(metric);
  return `${task.name} ${metric} ${value === undefined || Number.isNaN(value) ? '-' : value.toPrecision(3)}`;
}

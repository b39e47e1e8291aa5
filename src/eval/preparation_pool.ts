import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { InputError } from '../io/errors.ts';
import type { Group, PreparationSettings, PreparedGroup, Surveyed } from './preparation.ts';

/** What a thread is asked to do. */
export interface PreparationRequest {
  readonly id: number;
  readonly work:
    | { readonly kind: 'count'; readonly task: string }
    | { readonly kind: 'survey' | 'prepare'; readonly group: Group };
}

/** What a thread replies. */
export type PreparationReply = { readonly id: number } & (
  | { readonly value: unknown }
  | { readonly error: string; readonly isInputError: boolean }
);

/** A thread's entry: as a source it needs the loader that lets Node run TypeScript. */
const ENTRY = import.meta.url.endsWith('.ts') ? './preparation_worker.mjs' : './preparation_thread.js';

/** A video takes about as long to decode and cut up as a large GPU takes to answer: more threads than this only take memory. */
const MOST_THREADS = 4;

/**
 * Threads that read documents and make prompts while the GPU answers: decoding, resizing and tokenising never hold up the thread that
 * drives the GPU. Close it to end them.
 */
export class PreparationPool {
  readonly #settings: PreparationSettings;
  readonly #threads: Thread[] = [];

  constructor(settings: PreparationSettings) {
    this.#settings = settings;
  }

  /** See {@link Preparation.count}. */
  count(task: string): Promise<number> {
    return this.#thread(0).ask({ kind: 'count', task }) as Promise<number>;
  }

  /** See {@link Preparation.survey}. */
  survey(group: Group): Promise<Surveyed[]> {
    return this.#thread(0).ask({ kind: 'survey', group }) as Promise<Surveyed[]>;
  }

  /** Prepares groups ahead of their use and yields them in order: one for each thread, and one that waits. */
  async *prepare(groups: readonly Group[]): AsyncGenerator<PreparedGroup> {
    const threads = Math.min(MOST_THREADS, Math.max(1, availableParallelism() - 1));
    const pending: Promise<PreparedGroup>[] = [];
    let next = 0;
    while (next < groups.length || pending.length > 0) {
      while (next < groups.length && pending.length <= threads) {
        const group = groups[next]!;
        const prepared = this.#thread(next % threads).ask({ kind: 'prepare', group }) as Promise<PreparedGroup>;
        prepared.catch(() => undefined); // it is reported when its turn comes
        pending.push(prepared);
        next += 1;
      }
      yield await pending.shift()!;
    }
  }

  /** Ends the threads, whatever they are doing. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  #thread(index: number): Thread {
    this.#threads[index] ??= new Thread(this.#settings);
    return this.#threads[index];
  }
}

class Thread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #nextId = 0;
  #failure: Error | undefined;

  constructor(settings: PreparationSettings) {
    this.#worker = new Worker(new URL(ENTRY, import.meta.url), { workerData: settings });
    this.#worker.on('message', (reply: PreparationReply) => {
      const { resolve, reject } = this.#waiting.get(reply.id)!;
      this.#waiting.delete(reply.id);
      if ('value' in reply) resolve(reply.value);
      else reject(reply.isInputError ? new InputError(reply.error) : new Error(reply.error));
    });
    this.#worker.on('error', (error) => this.#fail(error as Error));
    this.#worker.on('exit', () => this.#fail(new Error('a preparation thread ended')));
  }

  ask(work: PreparationRequest['work']): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    const reply = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#worker.postMessage({ id, work } satisfies PreparationRequest);
    return reply;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }
}

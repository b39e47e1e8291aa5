import { totalWork, type Work } from './work.ts';

const CAPACITY = 2048;

/** What is known of a dispatch before it runs. */
export interface Timed extends Work {
  readonly label: string;
  /** Whether its products run on subgroup matrices, whose rate is far above that of other arithmetic. */
  readonly usesMatrices: boolean;
}

/** GPU time of one label over everything that was profiled. */
export interface LabelTime extends Timed {
  readonly count: number;
  readonly milliseconds: number;
}

/** One dispatch as it ran: nanoseconds on the GPU's clock. */
export interface Span extends Timed {
  readonly begin: number;
  readonly end: number;
}

/** Times each dispatch with timestamp queries. While one is attached, every dispatch runs in a pass of its own, which costs a little time between them. */
export class Profiler {
  readonly spans: Span[] = [];
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #pending: Promise<void>[] = [];
  #timed: Timed[] = [];

  constructor(readonly gpu: GPUDevice) {
    this.#queries = gpu.createQuerySet({ type: 'timestamp', count: CAPACITY, label: 'profiler' });
    this.#resolved = gpu.createBuffer({ size: CAPACITY * 8, usage: 0x200 | 0x4, label: 'profiler' }); // QUERY_RESOLVE | COPY_SRC
  }

  /** Whether the next dispatch fits before the queries must be resolved by a submit. */
  get isFull(): boolean {
    return this.#timed.length * 2 >= CAPACITY;
  }

  /** The pair of timestamps for the next dispatch. */
  begin(dispatch: Timed): GPUComputePassTimestampWrites {
    const index = this.#timed.length * 2;
    this.#timed.push(dispatch);
    return { querySet: this.#queries, beginningOfPassWriteIndex: index, endOfPassWriteIndex: index + 1 };
  }

  /** Records the resolve of what was timed since the last call; the returned function reads it once the commands were submitted. */
  resolve(encoder: GPUCommandEncoder): () => void {
    const timed = this.#timed;
    if (timed.length === 0) return () => {};
    this.#timed = [];
    const bytes = timed.length * 16;
    const staging = this.gpu.createBuffer({ size: bytes, usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
    encoder.resolveQuerySet(this.#queries, 0, timed.length * 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, bytes);
    return () => {
      this.#pending.push(
        staging.mapAsync(1).then(() => {
          const times = new BigUint64Array(staging.getMappedRange());
          timed.forEach((dispatch, i) => {
            this.spans.push({ ...dispatch, begin: Number(times[2 * i]), end: Number(times[2 * i + 1]) });
          });
          staging.destroy();
        }),
      );
    };
  }

  /** Waits for all timings and sums them by label, longest first. Submit everything before. */
  async summary(): Promise<LabelTime[]> {
    await Promise.all(this.#pending);
    const byLabel = new Map<string, Span[]>();
    for (const span of this.spans) {
      const spans = byLabel.get(span.label);
      if (spans === undefined) byLabel.set(span.label, [span]);
      else spans.push(span);
    }
    const sums = [...byLabel].map(([label, spans]) => ({
      label,
      usesMatrices: spans[0]!.usesMatrices,
      ...totalWork(spans),
      count: spans.length,
      milliseconds: spans.reduce((sum, { begin, end }) => sum + (end - begin) / 1e6, 0),
    }));
    return sums.sort((a, b) => b.milliseconds - a.milliseconds);
  }

  /** Frees the queries. */
  destroy(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
  }
}

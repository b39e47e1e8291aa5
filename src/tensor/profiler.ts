const CAPACITY = 2048;

/** GPU time of one label over everything that was profiled. */
export interface LabelTime {
  readonly label: string;
  readonly count: number;
  readonly milliseconds: number;
}

/** One dispatch as it ran: nanoseconds on the GPU's clock. */
export interface Span {
  readonly label: string;
  readonly begin: number;
  readonly end: number;
}

/** Times each dispatch with timestamp queries. While one is attached, every dispatch runs in a pass of its own, which costs a little time between them. */
export class Profiler {
  readonly spans: Span[] = [];
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #pending: Promise<void>[] = [];
  #labels: string[] = [];

  constructor(readonly gpu: GPUDevice) {
    this.#queries = gpu.createQuerySet({ type: 'timestamp', count: CAPACITY, label: 'profiler' });
    this.#resolved = gpu.createBuffer({ size: CAPACITY * 8, usage: 0x200 | 0x4, label: 'profiler' }); // QUERY_RESOLVE | COPY_SRC
  }

  /** Whether the next dispatch fits before the queries must be resolved by a submit. */
  get isFull(): boolean {
    return this.#labels.length * 2 >= CAPACITY;
  }

  /** The pair of timestamps for the next dispatch. */
  begin(label: string): GPUComputePassTimestampWrites {
    const index = this.#labels.length * 2;
    this.#labels.push(label);
    return { querySet: this.#queries, beginningOfPassWriteIndex: index, endOfPassWriteIndex: index + 1 };
  }

  /** Records the resolve of what was timed since the last call; the returned function reads it once the commands were submitted. */
  resolve(encoder: GPUCommandEncoder): () => void {
    const labels = this.#labels;
    if (labels.length === 0) return () => {};
    this.#labels = [];
    const bytes = labels.length * 16;
    const staging = this.gpu.createBuffer({ size: bytes, usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
    encoder.resolveQuerySet(this.#queries, 0, labels.length * 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, bytes);
    return () => {
      this.#pending.push(
        staging.mapAsync(1).then(() => {
          const times = new BigUint64Array(staging.getMappedRange());
          labels.forEach((label, i) => {
            this.spans.push({ label, begin: Number(times[2 * i]), end: Number(times[2 * i + 1]) });
          });
          staging.destroy();
        }),
      );
    };
  }

  /** Waits for all timings and sums them by label, longest first. Submit everything before. */
  async summary(): Promise<LabelTime[]> {
    await Promise.all(this.#pending);
    const sums = new Map<string, { count: number; milliseconds: number }>();
    for (const { label, begin, end } of this.spans) {
      const sum = sums.get(label) ?? { count: 0, milliseconds: 0 };
      sum.count += 1;
      sum.milliseconds += (end - begin) / 1e6;
      sums.set(label, sum);
    }
    return [...sums].map(([label, sum]) => ({ label, ...sum })).sort((a, b) => b.milliseconds - a.milliseconds);
  }

  /** Frees the queries. */
  destroy(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
  }
}

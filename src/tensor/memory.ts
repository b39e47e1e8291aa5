/** A GPU buffer with an identity that caches can key on. */
export interface Storage {
  readonly id: number;
  readonly buffer: GPUBuffer;
  readonly byteLength: number;
}

/** Pooled buffers that nobody holds, by size, the oldest last: taken first, it makes the same work find the same buffers, and its bind groups, again. */
export type FreeStorages = Map<number, Storage[]>;

const USAGE = 0x4 | 0x8 | 0x80; // COPY_SRC | COPY_DST | STORAGE

/** Stands for the buffer of a storage that is only talked about (`Memory.imagine`). */
const IMAGINARY = {} as GPUBuffer;

/**
 * A pooled buffer of up to so many times the size asked for is taken where none of that size is free: phases of a model differ in sizes, and each would keep
 * buffers of its own. Of 1, 1.25, 1.5, 2 and 4, twice left the lowest peaks of long prompts, and peaks within 1 % of the
 * lowest for many pictures.
 */
const MOST_OVERSIZE = 2;

/** Rounds up so that nearby sizes share buffers: steps of 256 bytes when small, of an eighth of the power of two (at most 12.5 % more) when large. */
export function sizeClass(bytes: number): number {
  const step = Math.max(256, 2 ** Math.floor(Math.log2(Math.max(bytes, 1))) / 8);
  return Math.max(256, Math.ceil(bytes / step) * step);
}

/**
 * Owner of all GPU memory. Activations come from here and go back as soon as their last reader is recorded: commands run in the order
 * they were recorded, so a buffer may be handed out again while its last reader still waits in the queue.
 */
export class Memory {
  /** Bytes of all buffers that exist, and the most there ever were. */
  allocated = 0;
  peak = 0;
  /** Bytes that were asked for and are in somebody's hands, and the most there ever were: what `allocated` cannot go below. */
  held = 0;
  heldPeak = 0;
  readonly #asked = new Map<Storage, number>();
  #nextId = 0;
  #imagines = false;
  /** Where buffers are returned to, and where they are taken from: with `apart` the common pool comes second. */
  #free: FreeStorages = new Map();
  #pools: readonly FreeStorages[] = [this.#free];

  constructor(readonly gpu: GPUDevice) {}

  /** A pooled buffer of at least `bytes`; its contents are whatever was there. */
  acquire(bytes: number): Storage {
    const size = sizeClass(bytes);
    return this.#hold((this.#imagines ? undefined : this.#reuse(size)) ?? this.#make(size), bytes);
  }

  /** A buffer of its own (weights), a multiple of 16 bytes long. */
  create(bytes: number): Storage {
    return this.#hold(this.#make(Math.max(16, Math.ceil(bytes / 16) * 16)), bytes);
  }

  #reuse(size: number): Storage | undefined {
    for (const pool of this.#pools) {
      for (let at = size; at <= MOST_OVERSIZE * size; at = sizeClass(at + 1)) {
        const found = pool.get(at)?.pop();
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  #make(byteLength: number): Storage {
    if (this.#imagines) return { id: this.#nextId++, buffer: IMAGINARY, byteLength };
    const buffer = this.gpu.createBuffer({ size: byteLength, usage: USAGE, label: `storage of ${byteLength} bytes` });
    this.allocated += byteLength;
    this.peak = Math.max(this.peak, this.allocated);
    return { id: this.#nextId++, buffer, byteLength };
  }

  #hold(storage: Storage, bytes: number): Storage {
    if (storage.buffer === IMAGINARY) return storage;
    this.#asked.set(storage, bytes);
    this.held += bytes;
    this.heldPeak = Math.max(this.heldPeak, this.held);
    return storage;
  }

  #letGo(storage: Storage): void {
    this.held -= this.#asked.get(storage) ?? 0;
    this.#asked.delete(storage);
  }

  /** Measures peaks from here on. */
  resetPeaks(): void {
    this.peak = this.allocated;
    this.heldPeak = this.held;
  }

  /** Gives a pooled buffer back for the next `acquire`. */
  release(storage: Storage): void {
    if (storage.buffer === IMAGINARY) return;
    this.#letGo(storage);
    const list = this.#free.get(storage.byteLength);
    if (list === undefined) {
      this.#free.set(storage.byteLength, [storage]);
      return;
    }
    let at = list.length;
    while (at > 0 && list[at - 1]!.id < storage.id) at -= 1;
    list.splice(at, 0, storage);
  }

  /** While `body` runs nothing is allocated: storages have sizes, and no buffer behind them. */
  imagine(body: () => void): void {
    this.#imagines = true;
    try {
      body();
    } finally {
      this.#imagines = false;
    }
  }

  /** Puts what `body` releases into a pool of its own, and serves it from there first; that pool is the caller's to keep and to `giveBack`. */
  apart(body: () => void): FreeStorages {
    const common = this.#free;
    const own: FreeStorages = new Map();
    this.#free = own;
    this.#pools = [own, common];
    try {
      body();
    } finally {
      this.#free = common;
      this.#pools = [common];
    }
    return own;
  }

  /** Returns the buffers of a pool of its own to the common one. */
  giveBack(own: FreeStorages): void {
    for (const storage of [...own.values()].flat()) this.release(storage);
    own.clear();
  }

  /** Destroys one buffer. Commands that use it must have been submitted. */
  destroy(storage: Storage): void {
    if (storage.buffer === IMAGINARY) return;
    this.#letGo(storage);
    this.allocated -= storage.byteLength;
    storage.buffer.destroy();
  }

  /** Destroys the pooled buffers that nobody holds, between phases whose sizes differ. */
  trim(): void {
    for (const list of this.#free.values()) for (const storage of list) this.destroy(storage);
    this.#free.clear();
  }
}

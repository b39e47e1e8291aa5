/** A GPU buffer with an identity that caches can key on. */
export interface Storage {
  readonly id: number;
  readonly buffer: GPUBuffer;
  readonly byteLength: number;
  destroy(): void;
}

/** Pooled buffers that nobody holds, by size, the oldest last: taken first, it makes the same work find the same buffers, and its bind groups, again. */
export type FreeStorages = Map<number, Storage[]>;

const USAGE = 0x4 | 0x8 | 0x80; // COPY_SRC | COPY_DST | STORAGE

/** The id of storages that are only talked about (`Memory.imagine`). */
const IMAGINARY = -1;

/**
 * A buffer that is created when it is first used. A model declares all its weights before it knows which kernels it needs, and their buffers take the driver
 * 0.35 s (a 4B): so the kernels begin to compile before there are buffers, and these come while files are read.
 */
class LateStorage implements Storage {
  #buffer: GPUBuffer | undefined;

  constructor(
    readonly id: number,
    readonly byteLength: number,
    readonly create: (byteLength: number) => GPUBuffer,
  ) {}

  get buffer(): GPUBuffer {
    this.#buffer ??= this.create(this.byteLength);
    return this.#buffer;
  }

  destroy(): void {
    this.#buffer?.destroy();
  }
}

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
    if (this.#imagines) return imaginary(size);
    return this.#hold(this.#reuse(size) ?? this.#make(size), bytes);
  }

  /** A buffer of its own (weights), a multiple of 16 bytes long, that is created when it is first used. */
  create(bytes: number): Storage {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    return this.#imagines ? imaginary(size) : this.#hold(this.#make(size), bytes);
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

  #make(byteLength: number): LateStorage {
    this.allocated += byteLength;
    this.peak = Math.max(this.peak, this.allocated);
    return new LateStorage(this.#nextId++, byteLength, (size) =>
      this.gpu.createBuffer({ size, usage: USAGE, label: `storage of ${size} bytes` }),
    );
  }

  #hold(storage: Storage, bytes: number): Storage {
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
    if (storage.id === IMAGINARY) return;
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
    if (storage.id === IMAGINARY) return;
    this.#letGo(storage);
    this.allocated -= storage.byteLength;
    storage.destroy();
  }

  /** Destroys the pooled buffers that nobody holds, between phases whose sizes differ. */
  trim(): void {
    for (const list of this.#free.values()) for (const storage of list) this.destroy(storage);
    this.#free.clear();
  }
}

/** A storage without a buffer. */
function imaginary(byteLength: number): Storage {
  return { id: IMAGINARY, byteLength, buffer: {} as GPUBuffer, destroy: () => undefined };
}

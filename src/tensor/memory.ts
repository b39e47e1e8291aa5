/** A GPU buffer with an identity that caches can key on. */
export interface Storage {
  readonly id: number;
  readonly buffer: GPUBuffer;
  readonly byteLength: number;
  destroy(): void;
}

/** Pooled buffers that nobody holds, smallest first and, of one size, oldest first: taken first, the oldest makes the same work find the same buffers, and its bind groups, again. */
export type FreeStorages = Storage[];

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
 * A free buffer of up to so many times the size asked for is taken before one is made: phases of a model differ in sizes, and each would keep buffers of its own.
 * Of small ones more may be wasted.
 */
function mostOversize(size: number): number {
  return size > 2 ** 26 ? 3.5 : 4;
}

/**
 * What the pool may keep besides what is held at the most, before it destroys free buffers to make a new one: a seventh of that, or 256 MiB. VGGT over
 * 32 frames with all heads then makes 0.1 GB anew each time it is repeated, at 20 us a MiB, and 276 bind groups.
 */
const SPARE_SHARE = 1 / 7;
const LEAST_SPARE = 2 ** 28;
/** Free buffers that are not worth destroying. */
const SMALL = 2 ** 23;

/** Rounds up so that nearby sizes share buffers: steps of 256 bytes when small, of a thirty-second of the power of two (at most 3.1 % more) when large. */
export function sizeClass(bytes: number): number {
  const step = Math.max(256, 2 ** Math.floor(Math.log2(Math.max(bytes, 1))) / 32);
  return Math.max(256, Math.ceil(bytes / step) * step);
}

/** Where the first buffer of at least `byteLength` is, of equal ones the first not older than `id`. */
function placeOf(free: FreeStorages, byteLength: number, id = 0): number {
  let [low, high] = [0, free.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const one = free[middle]!;
    if (one.byteLength < byteLength || (one.byteLength === byteLength && one.id < id)) low = middle + 1;
    else high = middle;
  }
  return low;
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
  /** The most that was held since the pool was empty: what it will be needed for again. */
  #mostHeld = 0;
  readonly #asked = new Map<Storage, number>();
  #nextId = 0;
  #imagines = false;
  /** Where buffers are returned to, and where they are taken from: with `apart` the common pool comes second. */
  #free: FreeStorages = [];
  #pools: readonly FreeStorages[] = [this.#free];

  /** @param submit submits all commands recorded so far: pooled buffers may be destroyed then */
  constructor(
    readonly gpu: GPUDevice,
    readonly submit: () => void,
  ) {}

  /** A pooled buffer of at least `bytes`; its contents are whatever was there. */
  acquire(bytes: number): Storage {
    const size = sizeClass(bytes);
    if (this.#imagines) return imaginary(size);
    const found = this.#reuse(size);
    if (found === undefined) this.#makeRoom(size, bytes);
    return this.#hold(found ?? this.#make(size), bytes);
  }

  /** A buffer of its own (weights), a multiple of 16 bytes long, that is created when it is first used. */
  create(bytes: number): Storage {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    return this.#imagines ? imaginary(size) : this.#hold(this.#make(size), bytes);
  }

  #reuse(size: number): Storage | undefined {
    for (const pool of this.#pools) {
      const at = placeOf(pool, size);
      if (at < pool.length && pool[at]!.byteLength <= mostOversize(size) * size) return pool.splice(at, 1)[0];
    }
    return undefined;
  }

  /**
   * Destroys free buffers, where that keeps the pool within its bound once a buffer of `size` is made: none of them fits what is asked for, the largest smaller
   * ones least of all. A recording in the making may still want them.
   */
  #makeRoom(size: number, bytes: number): void {
    if (this.#pools.length > 1) return;
    const held = Math.max(this.#mostHeld, this.held + bytes);
    const excess = this.allocated + size - held - Math.max(SPARE_SHARE * held, LEAST_SPARE);
    if (excess <= 0 || this.#free.reduce((sum, { byteLength }) => sum + byteLength, 0) < excess) return;
    this.submit();
    const target = this.allocated - excess;
    while (this.allocated > target) {
      const above = placeOf(this.#free, size);
      const at = above > 0 && this.#free[above - 1]!.byteLength >= SMALL ? above - 1 : above;
      const [one] = this.#free.splice(at, 1);
      if (one === undefined) return;
      this.destroy(one);
    }
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
    this.#mostHeld = Math.max(this.#mostHeld, this.held);
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
    this.#free.splice(placeOf(this.#free, storage.byteLength, storage.id), 0, storage);
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
    const own: FreeStorages = [];
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
    for (const storage of own.splice(0)) this.release(storage);
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
    for (const storage of this.#free.splice(0)) this.destroy(storage);
    this.#mostHeld = this.held;
  }
}

/** A storage without a buffer. */
function imaginary(byteLength: number): Storage {
  return { id: IMAGINARY, byteLength, buffer: {} as GPUBuffer, destroy: () => undefined };
}

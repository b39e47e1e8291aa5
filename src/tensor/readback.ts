import { sizeClass } from './memory.ts';

/** Bytes of buffers that wait for the next reading. */
const MOST_KEPT = 128 * 1024 * 1024;

/**
 * Host-visible buffers through which results are read, kept from one reading to the next: finding memory for a fresh one takes the driver several times as long
 * as copying into it.
 */
export class ReadbackPool {
  readonly #free = new Map<number, GPUBuffer[]>();
  #kept = 0;

  constructor(readonly gpu: GPUDevice) {}

  /** A buffer of at least `bytes`, to copy to and to map. */
  acquire(bytes: number): GPUBuffer {
    const size = sizeClass(bytes);
    const found = this.#free.get(size)?.pop();
    if (found === undefined) return this.gpu.createBuffer({ size, usage: 0x1 | 0x8, label: 'readback' }); // MAP_READ | COPY_DST
    this.#kept -= size;
    return found;
  }

  /** Takes back a buffer that has been read. */
  release(buffer: GPUBuffer): void {
    buffer.unmap();
    if (this.#kept + buffer.size > MOST_KEPT) {
      buffer.destroy();
      return;
    }
    this.#kept += buffer.size;
    const list = this.#free.get(buffer.size);
    if (list === undefined) this.#free.set(buffer.size, [buffer]);
    else list.push(buffer);
  }

  /** Destroys the buffers that nobody reads. */
  trim(): void {
    for (const buffer of [...this.#free.values()].flat()) buffer.destroy();
    this.#free.clear();
    this.#kept = 0;
  }
}

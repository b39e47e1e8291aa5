import type { Device } from '../tensor/device.ts';

/** More are not kept: prompts come in many lengths. */
const MOST_KEPT = 4096;

/**
 * Remembers what follows from a device, its tiles and a key that says everything else: working out a product's tiles and constants anew takes the CPU longer than
 * recording the product, and pipelines are found faster by constants that are the very same object.
 */
export class Memo<T> {
  readonly #byDevice = new WeakMap<Device, { changes: number; values: Map<string, T> }>();

  /** What `make` returned when it was first asked for with this key. */
  get(device: Device, key: string, make: () => T): T {
    const { changes } = device.tuning;
    let kept = this.#byDevice.get(device);
    if (kept === undefined || kept.changes !== changes || kept.values.size >= MOST_KEPT) {
      kept = { changes, values: new Map() };
      this.#byDevice.set(device, kept);
    }
    let value = kept.values.get(key);
    if (value === undefined) {
      value = make();
      kept.values.set(key, value);
    }
    return value;
  }
}

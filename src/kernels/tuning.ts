import type { Device } from '../tensor/device.ts';
import type { Tile } from '../tensor/tiles.ts';

/**
 * Tiles among which cards differ. A kernel declares its candidates beside itself and asks for one with `tileFor`; `bench tune` times them all and stores the
 * best for the adapter at hand, and where nothing is stored the kernel's own choice holds.
 */
export interface Tunable<T extends Tile = Tile> {
  /** The kernel, and what kind of work it is where one tile does not suit all: `matmul/matvec narrow`. */
  readonly name: string;
  readonly candidates: readonly T[];
  /** What a CPU takes in place of the first candidate. */
  readonly software?: T | undefined;
}

const declared = new Map<string, Tunable>();

/** Declares the candidates of a kernel, its own choice first, and a further one for CPUs. */
export function tunable<T extends Tile>(name: string, gpu: readonly [T, ...T[]], software?: T): Tunable<T> {
  const found = { name, candidates: software === undefined ? gpu : [...gpu, software], software };
  declared.set(name, found);
  return found;
}

/** Everything declared by the kernels that were imported, by name. */
export function tunables(): Tunable[] {
  return [...declared.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The tile stored for this device if it is (still) one of the candidates, else the kernel's own choice. */
export function tileFor<T extends Tile>(device: Device, { name, candidates, software }: Tunable<T>): T {
  const own = (device.opened.isSoftware ? software : undefined) ?? candidates[0]!;
  const stored = device.tuning.get(name);
  if (stored === undefined) return own;
  return candidates.find((candidate) => isSame(candidate, stored)) ?? own;
}

function isSame(a: Tile, b: Tile): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

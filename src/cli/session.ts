import { basename, resolve } from 'node:path';
import { openTunedDevice } from '../bench/tune_store.ts';
import { resolveModelPath } from '../io/hub.ts';
import type { Device } from '../tensor/device.ts';
import type { Progress } from './progress.ts';

/** Opens the GPU with the tiles that `bench tune` found for it. @throws DeviceError */
export function openDevice(): Promise<Device> {
  return openTunedDevice((text) => void process.stderr.write(`${text}\n`));
}

/** Opens the GPU for `use` and gives it back afterwards, which also lets the process end. @throws DeviceError */
export async function withDevice<T>(use: (device: Device) => Promise<T>): Promise<T> {
  const device = await openDevice();
  try {
    return await use(device);
  } finally {
    device.destroy();
  }
}

/** The local path of a model given as a path or a hub id, downloaded under a progress bar where it is not in the hub cache. @throws InputError */
export function findModel(idOrPath: string, progress: Progress): Promise<string> {
  const bars = new Map<string, (received: number, total: number) => void>();
  return resolveModelPath(idOrPath, {
    onProgress: ({ file, received, total }) => {
      const bar = bars.get(file) ?? progress.transfer(`downloading ${file}`);
      bars.set(file, bar);
      bar(received, total);
    },
  });
}

/** A short name for a model's path in progress lines. */
export function nameOf(path: string): string {
  return basename(resolve(path));
}

import { afterAll, beforeAll } from 'vitest';
import { Device } from '../src/tensor/device.ts';
import type { Feature } from '../src/tensor/gpu.ts';

/** Opens a device with validation on for the tests of a file. */
export function useDevice(disable?: readonly Feature[]): () => Device {
  let device: Device | undefined;
  beforeAll(async () => {
    device = await Device.open(disable === undefined ? { checked: true } : { checked: true, disable });
  });
  afterAll(() => {
    device?.destroy();
    device = undefined;
  });
  return () => device!;
}

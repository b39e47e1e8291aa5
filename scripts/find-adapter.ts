/** Exits with 0 where a WebGPU device can be opened, else with 1 and the reason on standard error. */
import { Device } from '../src/tensor/device.ts';

try {
  (await Device.open()).destroy();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

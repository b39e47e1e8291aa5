/** PCI addresses of NVIDIA's GPUs on Linux. */
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';

/** Where the driver describes the machine's GPUs, one folder for each, named by PCI address; and where the device files are. */
const DRIVER = '/proc/driver/nvidia/gpus';
const DEVICES = '/dev';

/**
 * PCI addresses (`0000:3b:00.0`) of the GPUs that this process may use, in order. The driver lists the whole machine's; a container shows a process only
 * some of the device files, a control group lets it open only some.
 */
export function nvidiaGpus(driver = DRIVER, devices = DEVICES): string[] {
  if (!existsSync(driver)) return [];
  return readdirSync(driver)
    .sort()
    .filter((address) => {
      const minor = minorNumber(`${driver}/${address}/information`);
      return minor === undefined || isAccessible(`${devices}/nvidia${minor}`);
    });
}

function minorNumber(path: string): string | undefined {
  try {
    return /^Device Minor:\s*(\d+)/m.exec(readFileSync(path, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

function isAccessible(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

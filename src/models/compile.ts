import type { Device } from '../tensor/device.ts';
import type { LoadProgress } from './weights.ts';

/** Who wants to know how loading goes. */
export interface LoadWatch {
  readonly onProgress?: LoadProgress;
  /** Called when the weights have arrived before all kernels were compiled; what it is given resolves once they are. */
  readonly onCompile?: (compiled: Promise<void>) => void;
}

/**
 * Loads weights while the kernels that a model will run compile in the background. A software GPU compiles on the very cores that load, and its users wait
 * less for the few kernels they run: there they compile when first used.
 */
export async function loadWhileCompiling(
  device: Device,
  load: () => Promise<void>,
  rehearse: () => void,
  onCompile: LoadWatch['onCompile'],
): Promise<void> {
  if (device.opened.isSoftware) return load();
  let isCompiled = false;
  const compiled = device.rehearse(rehearse).then(() => {
    isCompiled = true;
  });
  await Promise.all([
    compiled,
    load().then(() => {
      if (!isCompiled) onCompile?.(compiled);
    }),
  ]);
}

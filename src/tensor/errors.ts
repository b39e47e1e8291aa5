/** No usable adapter, a missing feature or limit, GPU memory exhausted, or a lost device. One sentence; the command line exits with code 2. */
export class DeviceError extends Error {
  override name = 'DeviceError';
}

/** A shader, a dispatch or a shape that the engine itself got wrong: a bug, never the user's input. */
export class KernelError extends Error {
  override name = 'KernelError';
}

/** The exit code of a process that was ended by Ctrl-C. */
export const INTERRUPTED = 130;

/** One key press may arrive twice: from the terminal, and from an npm that passes it on to its child. */
const SAME_PRESS_MS = 300;

/**
 * Turns the first Ctrl-C into an abort of the given controller while `use` runs; the next one ends the process at once. Outside of `use`
 * Ctrl-C ends the process as usual.
 */
export async function withInterrupt<T>(controller: AbortController, use: () => Promise<T>): Promise<T> {
  let pressed: number | undefined;
  const onSignal = () => {
    if (pressed !== undefined && performance.now() - pressed > SAME_PRESS_MS) {
      process.off('SIGINT', onSignal);
      process.kill(process.pid, 'SIGINT');
    }
    pressed ??= performance.now();
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  try {
    return await use();
  } finally {
    process.off('SIGINT', onSignal);
  }
}

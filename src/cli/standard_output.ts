/** What a shell reports of a process that wrote to a pipe nobody reads any more (128 + SIGPIPE). */
const BROKEN_PIPE = 141;

/** Standard output that survives its reader going away (`| head`): nothing more is written then. */
export class StandardOutput {
  /** Called once when the reader has gone away. */
  onClosed: (() => void) | undefined;
  #closed = false;

  constructor() {
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      this.#closed = true;
      this.onClosed?.();
    });
  }

  /** The exit code that a closed standard output calls for. */
  get closedCode(): number | undefined {
    return this.#closed ? BROKEN_PIPE : undefined;
  }

  write(text: string): void {
    if (!this.#closed) process.stdout.write(text);
  }
}

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Helper } from './compilation.ts';
import type { DeviceOrigin } from './gpu.ts';
import type { PipelineSource } from './pipeline.ts';

/** Where both the sources and what is built from them find it. */
const PROGRAM = fileURLToPath(new URL('../../src/tensor/compile_process.mjs', import.meta.url));

/** What the process answers: once it is open, and for each pipeline. */
type Reply = 'open' | { readonly label: string; readonly error?: string };

interface Waiting {
  resolve(): void;
  reject(reason: Error): void;
}

/**
 * Opens a further device in a process of its own: opening one and handing it a shader hold up the thread that does so (a tenth of a second, and some
 * milliseconds each), which is better none that also loads weights. A process, because Dawn does not survive a thread that ends while it compiles, as on Ctrl-C.
 * @throws Error where that does not work
 */
export async function openHelper(origin: DeviceOrigin): Promise<Helper> {
  const child = fork(PROGRAM, {
    serialization: 'advanced',
    execArgv: [],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const waiting = new Map<string, Waiting>();
  const fail = (reason: Error) => {
    for (const { reject } of waiting.values()) reject(reason);
    waiting.clear();
  };
  const ask = (label: string, message: DeviceOrigin | PipelineSource) =>
    new Promise<void>((resolve, reject) => {
      waiting.set(label, { resolve, reject });
      child.send(message, (error) => {
        if (error !== null) fail(error);
      });
    });
  // Wherever it is: there is nothing to keep.
  const end = () => void child.kill('SIGKILL');
  process.once('exit', end);
  child.on('error', fail);
  child.on('exit', () => {
    process.off('exit', end);
    fail(new Error('a process that compiles has ended'));
  });
  child.on('message', (reply: Reply) => {
    const { label, error } = reply === 'open' ? { label: reply } : reply;
    const found = waiting.get(label);
    waiting.delete(label);
    if (error === undefined) found?.resolve();
    else found?.reject(new Error(error));
  });
  await ask('open', origin);
  return { compile: (source) => ask(source.label, source), close: end };
}

import { Worker } from 'node:worker_threads';
import type { Helper } from './compilation.ts';
import type { DeviceOrigin } from './gpu.ts';
import type { PipelineSource } from './pipeline.ts';

/** Where both the sources and what is built from them find it. */
const THREAD = new URL('../../src/tensor/compile_thread.mjs', import.meta.url);

/** What the thread answers: once it is open, and for each pipeline. */
type Reply = 'open' | { readonly label: string; readonly error?: string };

interface Waiting {
  resolve(): void;
  reject(reason: Error): void;
}

/**
 * Opens a further device in a thread of its own. Opening one and handing it a shader hold up the thread that does so (a tenth of a second, and some
 * milliseconds each), which is better none that also loads weights. @throws Error where that does not work
 */
export async function openHelper(origin: DeviceOrigin): Promise<Helper> {
  const worker = new Worker(THREAD, { workerData: origin });
  const waiting = new Map<string, Waiting>();
  const fail = (reason: Error) => {
    for (const { reject } of waiting.values()) reject(reason);
    waiting.clear();
  };
  const answer = (label: string) =>
    new Promise<void>((resolve, reject) => void waiting.set(label, { resolve, reject }));
  worker.on('error', fail);
  worker.on('exit', () => fail(new Error('a thread that compiles has ended')));
  worker.on('message', (reply: Reply) => {
    const { label, error } = reply === 'open' ? { label: reply } : reply;
    const { resolve, reject } = waiting.get(label)!;
    waiting.delete(label);
    if (error === undefined) resolve();
    else reject(new Error(error));
  });
  await answer('open');
  return {
    compile: (source: PipelineSource) => {
      const compiled = answer(source.label);
      worker.postMessage(source);
      return compiled;
    },
    close: () => worker.postMessage('close'),
  };
}

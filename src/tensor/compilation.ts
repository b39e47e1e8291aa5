import { setTimeout as wait } from 'node:timers/promises';
import type { PipelineCache } from './pipeline.ts';
import type { Constants } from './shader.ts';

/** A kernel and its constants. */
export type Wanted = readonly [kernel: string, constants: Constants];

/** Another device's pipelines, and how to close that device. */
export interface Helper {
  readonly pipelines: PipelineCache;
  close(): void;
}

/** Who helps to compile, and when. */
export interface Help {
  /** Opens a further device on the same adapter. */
  readonly open: () => Promise<Helper>;
  /** How many of them. */
  readonly count: number;
  /** Milliseconds that the longest kernel may take before it shows that the driver has not seen the kernels before. */
  readonly patience?: number;
}

const PATIENCE_MS = 150;
/** Pipelines that Dawn compiles at a time for one device. */
const AT_A_TIME = 2;

/**
 * Compiles kernels in the background, each once, for `pipelines` to have.
 *
 * Dawn compiles two at a time for one device, which is enough where the driver finds them in its cache. Where it does not, as on a model's first start, further
 * devices on the same adapter bring two threads each. All take from one queue, the helpers its longest kernels and the device itself the shortest; what a helper
 * has compiled, the driver then knows, and the device asks for it too. @throws KernelError when a kernel does not compile
 */
export async function compileAll(pipelines: PipelineCache, wanted: readonly Wanted[], help: Help): Promise<void> {
  const [longest, ...queue] = wanted.toSorted((a, b) => pipelines.lengthOf(...b) - pipelines.lengthOf(...a));
  if (longest === undefined) return;
  const first = pipelines.request(...longest);
  const patience = new AbortController();
  const slow = wait(help.patience ?? PATIENCE_MS, true, { signal: patience.signal }).catch(() => false);
  // Nothing else is asked for meanwhile: handing over a shader takes this thread some time, in which it would not notice.
  const isSlow = await Promise.race([first.then(() => false), slow]).finally(() => patience.abort());
  if (!isSlow || help.count === 0) {
    await Promise.all([first, ...queue.toReversed().map((one) => pipelines.request(...one))]);
    return;
  }
  const own = inTurn(async () => {
    const shortest = queue.pop();
    if (shortest !== undefined) await pipelines.request(...shortest);
    return shortest !== undefined;
  });
  // The longest kernel done while devices are still being opened: the driver knew it after all, and only this thread was busy.
  const known = new AbortController();
  const noticed = first.then(() => known.abort());
  await Promise.all([noticed, own, assist(pipelines, queue, help, known.signal)]);
}

/** `AT_A_TIME` loops that go on while their step says so. */
async function inTurn(step: () => Promise<boolean>): Promise<void> {
  const loop = async () => {
    while (await step());
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, loop));
}

/**
 * Has further devices compile what is in the queue, each as soon as it is open: opening one holds up this thread for a tenth of a second. No more are opened once
 * `enough`. What goes wrong with them is left to the device itself.
 */
async function assist(
  pipelines: PipelineCache,
  queue: Wanted[],
  { open, count }: Help,
  enough: AbortSignal,
): Promise<void> {
  const asked: Promise<void>[] = [];
  const work = async (helper: Helper): Promise<void> => {
    await inTurn(async () => {
      const longest = queue.shift();
      if (longest === undefined) return false;
      await helper.pipelines.request(...longest).catch(() => undefined);
      const request = pipelines.request(...longest);
      request.catch(() => undefined); // reported when all are waited for
      asked.push(request);
      return true;
    });
    helper.close();
  };
  const working: Promise<void>[] = [];
  while (working.length < count && queue.length > 0 && !enough.aborted) {
    const helper = await open().catch(() => undefined);
    if (helper === undefined) break;
    working.push(work(helper));
  }
  await Promise.all(working);
  await Promise.all(asked);
}

import { setTimeout as wait } from 'node:timers/promises';
import type { PipelineCache, PipelineSource } from './pipeline.ts';
import type { Constants } from './shader.ts';

/** A kernel and its constants. */
export type Wanted = readonly [kernel: string, constants: Constants];

/** Another device that compiles. */
export interface Helper {
  compile(source: PipelineSource): Promise<void>;
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
  let isKnown = false;
  const noticed = first.then(() => {
    isKnown = true;
  });
  const asked: Promise<void>[] = [];
  const assist = async (helper: Helper): Promise<void> => {
    await inTurn(async () => {
      const next = queue.shift();
      if (next === undefined) return false;
      // What goes wrong with a helper is left to the device itself.
      await helper.compile(pipelines.source(...next)).catch(() => undefined);
      const request = pipelines.request(...next);
      request.catch(() => undefined); // reported when all are waited for
      asked.push(request);
      return true;
    });
    helper.close();
  };
  const helping: Promise<void>[] = [];
  const opened = (helper: Helper): void => {
    if (isKnown || queue.length === 0) helper.close();
    else helping.push(assist(helper));
  };
  for (let i = 0; i < Math.min(help.count, queue.length); i++) void help.open().then(opened, () => undefined);
  await Promise.all([noticed, own]);
  await Promise.all(helping);
  await Promise.all(asked);
}

/** `AT_A_TIME` loops that go on while their step says so. */
async function inTurn(step: () => Promise<boolean>): Promise<void> {
  const loop = async () => {
    while (await step());
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, loop));
}

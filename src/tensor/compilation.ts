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

const PATIENCE_MS = 400;
/** Pipelines that Dawn compiles at a time for one device. */
const AT_A_TIME = 2;

/**
 * Compiles kernels in the background, each once, for `pipelines` to have.
 *
 * Dawn compiles two at a time for one device, which is enough where the driver finds them in its cache. Where it does not, as on a model's first start, further
 * devices on the same adapter bring two threads each; what they compiled, the driver then knows. They begin with the longest kernels, the device itself with the
 * shortest. @throws KernelError when a kernel does not compile
 */
export async function compileAll(pipelines: PipelineCache, wanted: readonly Wanted[], help: Help): Promise<void> {
  const [longest, ...others] = wanted.toSorted((a, b) => pipelines.lengthOf(...b) - pipelines.lengthOf(...a));
  if (longest === undefined) return;
  const done = new Set<Wanted>();
  const request = async (one: Wanted) => {
    await pipelines.request(...one);
    done.add(one);
  };
  const first = request(longest);
  const patience = new AbortController();
  const slow = wait(help.patience ?? PATIENCE_MS, true, { signal: patience.signal }).catch(() => false);
  // Nothing else is asked for meanwhile: handing over a shader takes this thread some time, in which it would not notice.
  const isSlow = await Promise.race([first.then(() => false), slow]).finally(() => patience.abort());
  const all = Promise.all([first, ...others.toReversed().map(request)]);
  if (isSlow && help.count > 0) void assist(others, done, help);
  await all;
}

/** Has further devices compile what is not done yet. What goes wrong there the device itself will meet. */
async function assist(wanted: readonly Wanted[], done: ReadonlySet<Wanted>, { open, count }: Help): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    const helper = await open();
    const work = async (): Promise<void> => {
      while (next < wanted.length) {
        const kernel = wanted[next++]!;
        if (!done.has(kernel)) await helper.pipelines.request(...kernel);
      }
    };
    await Promise.allSettled(Array.from({ length: AT_A_TIME }, work));
    helper.close();
  };
  await Promise.allSettled(Array.from({ length: count }, one));
}

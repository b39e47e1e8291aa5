import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
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
  /** Milliseconds that the probe may take before it shows that the driver has not seen the kernels before. */
  readonly patience?: number;
}

const PATIENCE_MS = 100;
/** The probe is the quickest kernel with at least so large a part of the longest one's effort: long enough to tell, and soon out of the way of others. */
const PROBE_SHARE = 1 / 3;
/**
 * Kernels that the device itself has on their way. The driver compiles one at a time for each device; more are handed over ahead because this thread is held up while
 * further devices open. Not all at once: handing over 55 takes it 0.3 s, in which weights would not arrive.
 */
const AT_A_TIME = 8;

/**
 * Compiles kernels in the background, each once, for `pipelines` to have.
 *
 * The driver compiles one kernel at a time for a device, which is enough where it finds them in its cache. Where it does not, as on a model's first start, further
 * devices on the same adapter compile beside it. All take from one queue, the helpers its longest kernels, one after the other, and the device itself the quickest,
 * those quicker than the probe several ahead; what a helper has compiled, the driver then knows, and the device asks for it too. @throws KernelError when a kernel does not compile
 */
export async function compileAll(pipelines: PipelineCache, wanted: readonly Wanted[], help: Help): Promise<void> {
  const efforts = new Map(wanted.map((one) => [one, pipelines.effortOf(...one)]));
  const effort = (one: Wanted | undefined) => (one === undefined ? 0 : efforts.get(one)!);
  const queue = wanted.toSorted((a, b) => effort(b) - effort(a));
  const least = PROBE_SHARE * effort(queue[0]);
  const [probe] = queue.splice(
    queue.findLastIndex((one) => effort(one) >= least),
    1,
  );
  if (probe === undefined) return;
  const first = pipelines.request(...probe);
  const patience = new AbortController();
  // Two turns more, in which this thread would notice that the probe is done and only it itself was busy.
  const slow = wait(help.patience ?? PATIENCE_MS, undefined, { signal: patience.signal })
    .then(() => turn())
    .then(() => turn(true))
    .catch(() => false);
  // Nothing else is asked for meanwhile: handing over a shader takes this thread some time, in which it would not notice.
  const isSlow = await Promise.race([first.then(() => false), slow]).finally(() => patience.abort());
  const isShared = isSlow && help.count > 0;
  /** Compiles the quickest one after the other, as long as they take less than `limit`. */
  const takeBelow = async (limit: number) => {
    while (queue.length > 0 && effort(queue.at(-1)) < limit) await pipelines.request(...queue.pop()!);
  };
  const ahead = Array.from({ length: AT_A_TIME }, () => takeBelow(isShared ? least : Number.POSITIVE_INFINITY));
  const own = Promise.all(ahead).then(() => takeBelow(Number.POSITIVE_INFINITY));
  await Promise.all([first, own, isShared && assist(pipelines, queue, help)]);
}

/**
 * Has further devices compile what is in the queue, each as soon as it is open: opening one holds up this thread for a tenth of a second. What goes wrong with them is
 * left to the device itself.
 */
async function assist(pipelines: PipelineCache, queue: Wanted[], { open, count }: Help): Promise<void> {
  const asked: Promise<void>[] = [];
  const work = async (helper: Helper): Promise<void> => {
    for (let longest = queue.shift(); longest !== undefined; longest = queue.shift()) {
      await helper.pipelines.request(...longest).catch(() => undefined);
      const request = pipelines.request(...longest);
      request.catch(() => undefined); // reported when all are waited for
      asked.push(request);
    }
    helper.close();
  };
  const working: Promise<void>[] = [];
  while (working.length < count && queue.length > 0) {
    const helper = await open().catch(() => undefined);
    if (helper === undefined) break;
    working.push(work(helper));
    await turn(); // for what has become ready meanwhile, kernels and weights
  }
  await Promise.all(working);
  await Promise.all(asked);
}

/** Runs in its own thread: does what the pool asks, one request after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { InputError } from '../io/errors.ts';
import { Preparation, type PreparationSettings, type PreparedGroup } from './preparation.ts';
import type { PreparationReply, PreparationRequest } from './preparation_pool.ts';

const preparation = new Preparation(workerData as PreparationSettings);

async function answer({ id, work }: PreparationRequest): Promise<void> {
  const send = (reply: PreparationReply, transfer: ArrayBuffer[] = []) => parentPort!.postMessage(reply, transfer);
  try {
    if (work.kind === 'count') send({ id, value: await preparation.count(work.task) });
    else if (work.kind === 'survey') send({ id, value: await preparation.survey(work.group) });
    else {
      const value = await preparation.prepare(work.group);
      send({ id, value }, buffersOf(value));
    }
  } catch (error) {
    send({ id, error: (error as Error).message, isInputError: error instanceof InputError });
  }
}

/** Pixels are moved to the other thread, not copied. */
function buffersOf({ pictures }: PreparedGroup): ArrayBuffer[] {
  const arrays = [pictures.images?.data, pictures.geometry?.data];
  return arrays.flatMap((array) => (array === undefined ? [] : [array.buffer as ArrayBuffer]));
}

let last: Promise<void> = Promise.resolve();
parentPort!.on('message', (request: PreparationRequest) => {
  last = last.then(() => answer(request));
});

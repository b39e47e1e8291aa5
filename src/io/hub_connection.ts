import { setTimeout as delay } from 'node:timers/promises';
import { HUB_URL } from '@huggingface/hub';
import { InputError } from './errors.ts';

const RETRIES = 3;
const FIRST_PAUSE_MS = 250;

/** Requests to the hub about one model: with the token, with retries, with refusals as one sentence. */
export class HubConnection {
  readonly id: string;
  /** HF_ENDPOINT, else the public hub; no slash at its end. */
  readonly endpoint: string;
  readonly #token: string | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(id: string, signal: AbortSignal | undefined) {
    this.id = id;
    this.endpoint = (process.env.HF_ENDPOINT || HUB_URL).replace(/\/+$/, '');
    this.#token = process.env.HF_TOKEN?.trim() || undefined;
    this.#signal = signal;
    if (!/^https?:\/\//.test(this.endpoint) || !URL.canParse(this.endpoint)) {
      throw new InputError(`HF_ENDPOINT: expected an http or https address, found ${this.endpoint}.`);
    }
    if (this.#token !== undefined && !/^[\x21-\x7e]+$/.test(this.#token)) {
      throw new InputError('HF_TOKEN: expected a token of printable ASCII characters, found others.');
    }
  }

  /**
   * As the global fetch, to hand to the hub library. The token goes to the endpoint only, never to the storage it redirects
   * to. InputError for no such model and no access; any other failure is an Error worth a retry. A 416 is returned.
   */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init.headers);
    if (this.#token !== undefined && this.#isEndpoint(url)) headers.set('Authorization', `Bearer ${this.#token}`);
    const response = await fetch(url, { ...init, headers, signal: this.#signal ?? null });
    if (response.ok || response.status === 416) return response;
    await response.body?.cancel();
    throw this.#failure(response);
  };

  /**
   * Runs an attempt until it succeeds, with pauses, and gives up after three retries in a row that brought nothing new;
   * `progress` says how far things are. What a retry cannot change (an InputError, an abort, a full disk) is thrown at once.
   */
  async retry<T>(attempt: () => Promise<T>, progress: () => Promise<number> = async () => 0): Promise<T> {
    let best = await progress();
    for (let failures = 0; ; ) {
      try {
        return await attempt();
      } catch (error) {
        this.#signal?.throwIfAborted();
        if (error instanceof InputError || isFileSystemError(error)) throw error;
        const reached = await progress();
        if (reached > best) failures = 0;
        best = Math.max(best, reached);
        if (failures === RETRIES) {
          throw new InputError(
            `${this.id}: expected an answer from the hub at ${this.endpoint}, found none that is usable after ${RETRIES + 1} attempts (${reason(error)}).`,
          );
        }
        await delay(FIRST_PAUSE_MS * 2 ** failures++, undefined, this.#signal && { signal: this.#signal });
      }
    }
  }

  #isEndpoint(url: URL): boolean {
    return url.origin === new URL(this.endpoint).origin;
  }

  #failure({ status, headers, url }: Response): Error {
    // A refusal by the storage behind the hub is an expired link, not a matter of rights: ask the hub again.
    if (!this.#isEndpoint(new URL(url))) return new Error(`status ${status} from ${new URL(url).host}`);
    if (status === 403 || headers.get('x-error-code') === 'GatedRepo') {
      return new InputError(
        `${this.id}: access is restricted on the hub; accept its terms at ${this.endpoint}/${this.id} and set HF_TOKEN to a token of that account.`,
      );
    }
    if (status === 404) {
      return new InputError(
        `${this.id}: expected a file, a folder or a model on the hub at ${this.endpoint}, found none of that name.`,
      );
    }
    if (status === 401) {
      return new InputError(
        `${this.id}: expected a model on the hub at ${this.endpoint}, found none of that name that is open to ${this.#token === undefined ? 'everyone; a private one needs a token in HF_TOKEN' : 'the token in HF_TOKEN'}.`,
      );
    }
    return new Error(`status ${status}`);
  }
}

function isFileSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

/** fetch says "fetch failed"; its cause says why. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error) return 'code' in cause ? String(cause.code) : cause.message;
  return error.message;
}

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-extensions',
  '--disable-dev-shm-usage',
  // WebGL on the processor.
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--remote-debugging-pipe',
];

/** How long a page may take for something that a test waits for. */
const PATIENCE_MS = 60_000;

type Message = {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
};

/** A page in headless Chromium, driven over the DevTools protocol through pipes, and what it said meanwhile. */
export interface Page {
  /** Errors and warnings of its console, and exceptions. */
  readonly complaints: string[];
  /** Addresses that it asked for, apart from its own and data that it holds itself. */
  readonly requests: string[];
  /** The value of a JavaScript expression. */
  evaluate(expression: string): Promise<unknown>;
  /** Waits until an expression is true. @throws Error when the page complains, or nothing happens for long */
  until(expression: string): Promise<void>;
  /** A PNG of what it shows. */
  screenshot(): Promise<Buffer>;
  /** Presses the mouse at one place and lets it go at another. */
  drag(from: readonly [number, number], to: readonly [number, number]): Promise<void>;
}

/** Opens a page of this size in Debian's Chromium (scripts/setup.sh installs it) for `use`. */
export async function withPage<T>(
  url: string,
  [width, height]: readonly [number, number],
  use: (page: Page) => Promise<T>,
): Promise<T> {
  const profile = await mkdtemp(join(tmpdir(), 'chromium-'));
  const browser = spawn(
    '/usr/bin/chromium',
    [...FLAGS, `--window-size=${width},${height}`, `--user-data-dir=${profile}`],
    {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    },
  );
  const ended = new Promise<void>((resolve) => browser.on('close', () => resolve()));
  try {
    const connection = new Connection(browser.stdio[3] as Writable, browser.stdio[4] as Readable);
    browser.on('error', (error) => connection.fail(error));
    const { targetId } = await connection.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await connection.send('Target.attachToTarget', { targetId, flatten: true });
    connection.sessionId = sessionId as string;
    return await use(await openPage(connection, url, [width, height]));
  } finally {
    browser.kill('SIGKILL');
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function openPage(
  connection: Connection,
  url: string,
  [width, height]: readonly [number, number],
): Promise<Page> {
  const complaints: string[] = [];
  const requests: string[] = [];
  connection.listen((method, params) => {
    if (method === 'Runtime.exceptionThrown') complaints.push(JSON.stringify(params.exceptionDetails));
    if (method === 'Runtime.consoleAPICalled' && params.type !== 'log') complaints.push(JSON.stringify(params.args));
    if (method === 'Log.entryAdded') complaints.push(JSON.stringify(params.entry));
    if (method !== 'Network.requestWillBeSent') return;
    const address = (params.request as { url: string }).url;
    if (address !== url && !address.startsWith('data:')) requests.push(address);
  });
  for (const domain of ['Runtime', 'Log', 'Network', 'Page']) await connection.send(`${domain}.enable`);
  await connection.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
  await connection.send('Page.navigate', { url });

  const evaluate = async (expression: string) => {
    const { result } = await connection.send('Runtime.evaluate', { expression, returnByValue: true });
    return (result as { value?: unknown }).value;
  };
  const mouse = (type: string, [x, y]: readonly [number, number]) =>
    connection.send('Input.dispatchMouseEvent', { type, x, y, button: 'left', buttons: 1, clickCount: 1 });
  return {
    complaints,
    requests,
    evaluate,
    until: async (expression) => {
      for (const start = performance.now(); (await evaluate(expression)) !== true; ) {
        if (complaints.length > 0 || performance.now() - start > PATIENCE_MS) {
          throw new Error(`waited for ${expression}; ${complaints.join('; ') || 'nothing happened'}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    screenshot: async () => {
      const { data } = await connection.send('Page.captureScreenshot', { format: 'png' });
      return Buffer.from(data as string, 'base64');
    },
    drag: async (from, to) => {
      await mouse('mousePressed', from);
      await mouse('mouseMoved', [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2]);
      await mouse('mouseMoved', to);
      await mouse('mouseReleased', to);
    },
  };
}

/** Messages of the DevTools protocol: JSON, each ended by a zero byte. */
class Connection {
  sessionId: string | undefined;
  #nextId = 1;
  #received = '';
  readonly #waiting = new Map<
    number,
    { resolve: (result: Record<string, unknown>) => void; reject: (e: Error) => void }
  >();
  readonly #listeners: ((method: string, params: Record<string, unknown>) => void)[] = [];

  constructor(
    readonly input: Writable,
    output: Readable,
  ) {
    input.on('error', (error) => this.fail(error));
    output.setEncoding('utf8').on('data', (text: string) => this.#receive(text));
    output.on('close', () => this.fail(new Error('Chromium ended')));
  }

  send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    const session = this.sessionId === undefined ? {} : { sessionId: this.sessionId };
    this.input.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  listen(listener: (method: string, params: Record<string, unknown>) => void): void {
    this.#listeners.push(listener);
  }

  fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #receive(text: string): void {
    const messages = (this.#received + text).split('\0');
    this.#received = messages.pop()!;
    for (const message of messages.map((json) => JSON.parse(json) as Message)) {
      if (message.id === undefined) {
        for (const listener of this.#listeners) listener(message.method!, message.params ?? {});
        continue;
      }
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error) waiting?.reject(new Error(message.error.message));
      else waiting?.resolve(message.result ?? {});
    }
  }
}

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as the server saw it; `server` says whether the hub or the storage behind it was asked. */
export interface SeenRequest {
  server: 'hub' | 'storage';
  path: string;
  authorization: string | undefined;
  range: string | undefined;
}

/**
 * A hub on 127.0.0.1 with one model at `org/model`: the model's info, its file tree in pages of three, small files served
 * directly and safetensors by redirect to a second server ("storage", another origin) that knows Range.
 */
export class FakeHub {
  readonly commit = 'c0ffee'.padEnd(40, '0');
  readonly seen: SeenRequest[] = [];
  files: Record<string, Buffer> = {};
  /** The storage drops the connection after so many bytes, as many times as there are entries. */
  drops: number[] = [];
  /** The storage sends everything whatever range is asked for. */
  ignoresRange = false;
  /** The storage answers so many requests for a range with the range one byte later. */
  wrongRanges = 0;
  /** The link to the tree's next page leads to the storage, which has an empty page. */
  foreignPage = false;
  /** The hub answers everything with this status and header. */
  refusal: { status: number; code?: string } | undefined;
  /** Replaces the answer of a path that matches. */
  override: { path: RegExp; body: string } | undefined;
  readonly #hub: Server = createServer((request, response) => this.#answerHub(request, response));
  readonly #storage: Server = createServer((request, response) => this.#answerStorage(request, response));

  async start(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  get endpoint(): string {
    return originOf(this.#hub);
  }

  get #storageOrigin(): string {
    return originOf(this.#storage);
  }

  blobName(path: string): string {
    const bytes = this.files[path]!;
    if (path.endsWith('.safetensors')) return createHash('sha256').update(bytes).digest('hex');
    return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  }

  #see(server: SeenRequest['server'], request: IncomingMessage): string {
    const { authorization, range } = request.headers;
    const path = request.url!.split('?')[0]!;
    this.seen.push({ server, path, authorization, range });
    return path;
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    const path = this.#see('hub', request);
    if (this.refusal !== undefined) {
      const { status, code } = this.refusal;
      response.writeHead(status, code === undefined ? {} : { 'X-Error-Code': code }).end('refused');
    } else if (this.override?.path.test(path)) {
      response.setHeader('Content-Type', 'application/json').end(this.override.body);
    } else if (path === '/api/models/org/model/revision/main') {
      const info = { _id: '1', id: 'org/model', private: false, gated: false, likes: 0, downloads: 0 };
      sendJson(response, { ...info, lastModified: '2026-01-01T00:00:00.000Z', sha: this.commit });
    } else if (path === `/api/models/org/model/tree/${this.commit}`) {
      this.#sendTree(request, response);
    } else if (path.startsWith(`/org/model/resolve/${this.commit}/`)) {
      this.#sendFile(decodeURIComponent(path.split('/').at(-1)!), response);
    } else {
      response.writeHead(404).end('{"error":"not here"}');
    }
  }

  #sendTree(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, this.endpoint);
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const tree = Object.entries(this.files).map(([path, { length: size }]) => {
      const oid = this.blobName(path);
      const lfs = path.endsWith('.safetensors') && { lfs: { oid, size, pointerSize: 130 } };
      return { type: 'file', path, size, oid: oid.slice(0, 40), ...lfs };
    });
    const next = from + 3;
    if (next < tree.length) {
      url.searchParams.set('cursor', String(next));
      const foreign = `${this.#storageOrigin}/tree`;
      response.setHeader('Link', `<${this.foreignPage ? foreign : url}>; rel="next"`);
    }
    sendJson(response, [...tree.slice(from, next), { type: 'directory', path: `folder${from}`, size: 0, oid: '' }]);
  }

  #sendFile(name: string, response: ServerResponse): void {
    const bytes = this.files[name];
    if (bytes === undefined) {
      response.writeHead(404, { 'X-Error-Code': 'EntryNotFound' }).end();
    } else if (name.endsWith('.safetensors')) {
      response.writeHead(302, { Location: `${this.#storageOrigin}/store/${name}?signature=1` }).end();
    } else {
      response.end(bytes);
    }
  }

  #answerStorage(request: IncomingMessage, response: ServerResponse): void {
    const path = this.#see('storage', request);
    if (path === '/tree') {
      sendJson(response, []);
      return;
    }
    const bytes = this.files[path.split('/').at(-1)!]!;
    const asked = this.ignoresRange ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const start = asked > 0 && this.wrongRanges-- > 0 ? asked + 1 : asked;
    const rest = bytes.subarray(start);
    response.writeHead(start === 0 ? 200 : 206, {
      'Content-Length': rest.length,
      ...(start > 0 && { 'Content-Range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
    });
    const drop = this.drops.shift();
    if (drop === undefined) response.end(rest);
    // Destroyed only after the bytes have left, so that the client has them.
    else response.write(rest.subarray(0, drop), () => setTimeout(() => response.destroy(), 20));
  }
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('Content-Type', 'application/json').end(JSON.stringify(value));
}

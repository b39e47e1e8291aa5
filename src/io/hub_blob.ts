import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { InputError } from './errors.ts';
import type { HubConnection } from './hub_connection.ts';

/** One file of a repository; `blob` is its content's name in the cache: SHA-256 for large files, git's SHA-1 for others. */
export interface HubFile {
  readonly path: string;
  readonly size: number;
  readonly blob: string;
}

/** How far the download of one file is: bytes that are here (those of an earlier run included), of all its bytes. */
export interface HubProgress {
  file: string;
  received: number;
  total: number;
}

/**
 * Downloads one file to `target`, unless it is there. Bytes gather in `target`.incomplete, where a retry or a later run goes
 * on with an HTTP Range request; the file takes its name once its size and, for large files, its SHA-256 are right.
 */
export async function downloadBlob(
  hub: HubConnection,
  url: string,
  file: HubFile,
  target: string,
  onProgress: ((progress: HubProgress) => void) | undefined,
): Promise<void> {
  if ((await sizeOf(target)) === file.size) return;
  const partial = `${target}.incomplete`;
  const report = (received: number) => onProgress?.({ file: file.path, received, total: file.size });
  await hub.retry(
    () => receiveRest(hub, url, file, partial, report),
    async () => (await sizeOf(partial)) ?? 0,
  );
  await checkSha256(hub, file, partial);
  await rename(partial, target);
}

async function receiveRest(
  hub: HubConnection,
  url: string,
  file: HubFile,
  partial: string,
  report: (received: number) => void,
): Promise<void> {
  const present = await sizeOf(partial);
  if (present === file.size) return report(file.size);
  const resume = present !== undefined && present > 0 && present < file.size;
  // Compressed bytes could not be counted or resumed.
  const headers = { 'Accept-Encoding': 'identity', ...(resume && { Range: `bytes=${present}-` }) };
  const response = await hub.fetch(url, { headers });
  const continues = resume && response.headers.get('content-range')?.startsWith(`bytes ${present}-`) === true;
  if (response.status !== 200 && !continues) {
    await response.body?.cancel();
    await rm(partial, { force: true });
    throw new Error(`status ${response.status} to a request for the rest of ${file.path}`);
  }
  // A server that does not know ranges sends everything: begin again.
  let received = continues ? present : 0;
  const handle = await open(partial, continues ? 'a' : 'w');
  try {
    report(received);
    for await (const chunk of response.body ?? []) {
      received += chunk.length;
      if (received > file.size) break;
      await handle.appendFile(chunk);
      report(received);
    }
  } finally {
    await handle.close();
  }
  if (received > file.size) await rm(partial);
  if (received !== file.size) throw new Error(`${received} of ${file.size} bytes of ${file.path}`);
}

async function checkSha256(hub: HubConnection, file: HubFile, partial: string): Promise<void> {
  if (file.blob.length !== 64) return;
  const hash = createHash('sha256');
  await pipeline(createReadStream(partial), hash);
  const found = hash.digest('hex');
  if (found !== file.blob) {
    await rm(partial);
    throw new InputError(
      `${hub.id}: expected ${file.path} with SHA-256 ${file.blob}, found ${found}; the bytes were thrown away, a new attempt begins anew.`,
    );
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}

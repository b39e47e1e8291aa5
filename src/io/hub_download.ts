import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { listFiles, modelInfo } from '@huggingface/hub';
import { InputError } from './errors.ts';
import { downloadBlob, type HubFile, type HubProgress } from './hub_blob.ts';
import { HubConnection } from './hub_connection.ts';
import { show } from './strict_json.ts';

/** `signal` stops a download; what has arrived is kept, and the next call goes on from there. */
export interface HubOptions {
  onProgress?: (progress: HubProgress) => void;
  signal?: AbortSignal;
}

/**
 * Downloads a model's configuration, tokenizer and weights into its folder of the hub cache, in the layout of the Python
 * libraries (blobs/<hash>, snapshots/<commit>/<file> as links to them, refs/main), and returns the snapshot folder.
 * refs/main changes last, so that an older complete copy stays in use until the new one is complete.
 */
export async function downloadModel(id: string, repository: string, options: HubOptions): Promise<string> {
  const hub = new HubConnection(id, options.signal);
  const { commit, files } = await hub.retry(() => listModel(hub));
  const snapshot = join(repository, 'snapshots', commit);
  for (const folder of [join(repository, 'blobs'), join(repository, 'refs'), snapshot]) {
    await mkdir(folder, { recursive: true });
  }
  for (const file of files) {
    const blob = join(repository, 'blobs', file.blob);
    const url = `${hub.endpoint}/${id}/resolve/${commit}/${encodeURIComponent(file.path)}`;
    await downloadBlob(hub, url, file, blob, options.onProgress);
    await link(blob, snapshot, file.path);
  }
  await replaceFile(join(repository, 'refs', 'main'), commit);
  return snapshot;
}

/** The commit of `main`, and the files at the top of the repository that a model is loaded from, weights last. */
async function listModel(hub: HubConnection): Promise<{ commit: string; files: HubFile[] }> {
  const request = { hubUrl: hub.endpoint, fetch: hub.fetch };
  const { sha } = await modelInfo({ ...request, name: hub.id, revision: 'main', additionalFields: ['sha'] });
  if (!/^[0-9a-f]{40}$/.test(sha)) throw new Error(`a commit called ${show(sha)}`);
  const files: HubFile[] = [];
  for await (const { type, path, size, oid, lfs } of listFiles({
    ...request,
    repo: { type: 'model', name: hub.id },
    revision: sha,
  })) {
    // These become names in the cache: a file name without folder, a hash and nothing else.
    if (type !== 'file' || !/^\w[\w. +=@,()-]*\.(safetensors|json|jinja|txt)$/.test(path)) continue;
    const file = { path, size: lfs?.size ?? size, blob: lfs?.oid ?? oid ?? '' };
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(file.blob)) throw new Error(`a hash ${show(file.blob)} of ${path}`);
    if (!Number.isSafeInteger(file.size) || file.size < 0) throw new Error(`a size ${show(file.size)} of ${path}`);
    files.push(file);
  }
  if (!files.some(({ path }) => path === 'config.json') || !files.some(isWeights)) {
    throw new InputError(
      `${hub.id}: expected config.json and .safetensors files in the repository on the hub, found ${files.map(({ path }) => path).join(', ') || 'neither'}.`,
    );
  }
  return { commit: sha, files: files.sort((a, b) => Number(isWeights(a)) - Number(isWeights(b))) };
}

function isWeights({ path }: HubFile): boolean {
  return path.endsWith('.safetensors');
}

/** A relative link, so that the cache can be moved; a copy where the file system has no links. */
async function link(blob: string, snapshot: string, name: string): Promise<void> {
  const temporary = join(snapshot, `${name}.${randomUUID()}.tmp`);
  await symlink(relative(snapshot, blob), temporary).catch(() => copyFile(blob, temporary));
  await rename(temporary, join(snapshot, name));
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  await writeFile(temporary, text);
  await rename(temporary, path);
}

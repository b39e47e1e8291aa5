import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { getHFHubCachePath, getRepoFolderName } from '@huggingface/hub';
import { InputError } from './errors.ts';
import { downloadModel, type HubOptions } from './hub_download.ts';
import { findWeights } from './safetensors_index.ts';
import { show } from './strict_json.ts';

export type { HubProgress } from './hub_blob.ts';
export type { HubOptions };

/**
 * The local folder or file of a model. An existing path is itself; otherwise a hub id (`name` or `org/name`) is looked up in
 * the hub cache that the Python libraries use too, and downloaded into it unless HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE
 * is set. A complete cached copy is used without asking the hub for a newer one. HF_HUB_CACHE, HF_HOME, HF_ENDPOINT and
 * HF_TOKEN mean what they mean in Python. InputError when there is no such thing, no access or no network.
 */
export async function resolveModelPath(idOrPath: string, options: HubOptions = {}): Promise<string> {
  const path = idOrPath.replace(/^~(?=$|\/)/, homedir());
  if (await exists(path)) return path;
  if (/^[./~]|\/.*\/|\.safetensors$/.test(idOrPath)) {
    throw new InputError(`${idOrPath}: no such file or folder.`);
  }
  if (!isHubId(idOrPath)) {
    throw new InputError(
      `expected an existing file or folder, or a hub id like "org/name", as the model, found ${show(idOrPath)}.`,
    );
  }
  const repository = join(getHFHubCachePath(), getRepoFolderName({ type: 'model', name: idOrPath }));
  const snapshot = await cachedSnapshot(repository);
  const missing = snapshot === undefined ? 'none' : await missingFile(snapshot);
  if (snapshot !== undefined && missing === undefined) return snapshot;
  if (isOffline()) {
    throw new InputError(
      `${idOrPath}: expected a complete copy in the hub cache ${repository}, found ${missing}, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids a download.`,
    );
  }
  const downloaded = await downloadModel(idOrPath, repository, options);
  const lacking = await missingFile(downloaded);
  if (lacking !== undefined) {
    throw new InputError(`${idOrPath}: expected a complete model on the hub, found ${lacking}.`);
  }
  return downloaded;
}

/** Where the hub cache keeps a dataset, and the folder of the commit that `main` was when it was last downloaded, if it was. */
export async function cachedDatasetPath(id: string): Promise<{ repository: string; snapshot: string | undefined }> {
  const repository = join(getHFHubCachePath(), getRepoFolderName({ type: 'dataset', name: id }));
  const snapshot = await cachedSnapshot(repository);
  return { repository, snapshot: snapshot !== undefined && (await exists(snapshot)) ? snapshot : undefined };
}

/** The hub's own rule for names: parts of letters, digits, `-`, `_`, `.`, not beginning or ending with `-` or `.`, no `--`, no `..`. */
function isHubId(text: string): boolean {
  const part = /^[A-Za-z0-9_]([\w.-]{0,94}[A-Za-z0-9_])?$/;
  return text.split('/').every((name) => part.test(name)) && !/--|\.\./.test(text);
}

/** The folder of the commit that `main` was when the repository was last downloaded. */
async function cachedSnapshot(repository: string): Promise<string | undefined> {
  const commit = await readFile(join(repository, 'refs', 'main'), 'utf8').catch(() => '');
  return /^[0-9a-f]{40}$/.test(commit.trim()) ? join(repository, 'snapshots', commit.trim()) : undefined;
}

/** What a cached copy lacks to be run: its configuration or weights. Undefined when it is complete. */
async function missingFile(snapshot: string): Promise<string | undefined> {
  if (!(await exists(join(snapshot, 'config.json')))) return 'one without config.json';
  try {
    const weights = await findWeights(snapshot);
    if (weights === undefined) return 'one without safetensors files';
    for (const file of weights.files) {
      if (!(await exists(file))) return `one without ${file.slice(snapshot.length + 1)}`;
    }
    return undefined;
  } catch (error) {
    // An index still to come, or a broken one, is a reason to ask the hub, not to give up.
    if (error instanceof InputError) return `one that cannot be used (${error.message.replace(/\.$/, '')})`;
    throw error;
  }
}

/** Follows links: a link whose blob was deleted does not count. */
async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function isOffline(): boolean {
  return [process.env.HF_HUB_OFFLINE, process.env.TRANSFORMERS_OFFLINE].some((value) =>
    ['1', 'ON', 'YES', 'TRUE'].includes(value?.toUpperCase() ?? ''),
  );
}

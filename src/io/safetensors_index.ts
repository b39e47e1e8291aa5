import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from './errors.ts';
import { MAX_HEADER_BYTES } from './safetensors_header.ts';
import { parseStrictJson, show } from './strict_json.ts';

/** The safetensors files of a folder; `weightMap` (tensor name to file) only where an index tells it. */
export interface WeightFiles {
  readonly files: readonly string[];
  readonly weightMap?: ReadonlyMap<string, string>;
}

/**
 * Finds a folder's weights: the shards of model.safetensors.index.json, else model.safetensors, else the one *.safetensors.
 * Says undefined when there are none; whether the shards exist is not looked at. InputError for a bad index or a choice
 * between several files.
 */
export async function findWeights(folder: string): Promise<WeightFiles | undefined> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw unreadable(folder, error);
  });
  if (names.includes('model.safetensors.index.json')) {
    const weightMap = await readIndex(join(folder, 'model.safetensors.index.json'), folder);
    return { files: [...new Set(weightMap.values())].sort(), weightMap };
  }
  if (names.includes('model.safetensors')) return { files: [join(folder, 'model.safetensors')] };
  const others = names.filter((name) => name.endsWith('.safetensors'));
  if (others.length > 1) {
    throw new InputError(
      `${folder}: expected model.safetensors, model.safetensors.index.json or exactly one .safetensors file, found ${others.length} files and no index.`,
    );
  }
  return others[0] === undefined ? undefined : { files: [join(folder, others[0])] };
}

/** InputError for a path that the file system will not read. */
export function unreadable(path: string, error: unknown): InputError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  return new InputError(
    code === 'ENOENT'
      ? `${path}: no such file or folder.`
      : `${path}: expected a readable file or folder, found ${code}.`,
  );
}

async function readIndex(path: string, folder: string): Promise<Map<string, string>> {
  const bytes = await readIndexBytes(path);
  const map = parseStrictJson(bytes, path).weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new InputError(`${path}: expected weight_map to be an object of tensor names and files, found ${show(map)}.`);
  }
  const weightMap = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    // The index comes from outside: a shard is a plain name inside this folder and nothing else.
    if (typeof file !== 'string' || file === '' || file === '.' || /[/\\\0]|\.\./.test(file)) {
      throw new InputError(
        `${path}: expected tensor ${show(name)} in a file of the same folder (a name without "/" or ".."), found ${show(file)}.`,
      );
    }
    weightMap.set(name, join(folder, file));
  }
  if (weightMap.size === 0) throw new InputError(`${path}: expected tensors in weight_map, found none.`);
  return weightMap;
}

async function readIndexBytes(path: string): Promise<Uint8Array> {
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new InputError(`${path}: expected a file, found something else.`);
    if (info.size > MAX_HEADER_BYTES) {
      throw new InputError(`${path}: expected at most ${MAX_HEADER_BYTES} bytes, found ${info.size}.`);
    }
    return await readFile(path);
  } catch (error) {
    throw error instanceof InputError ? error : unreadable(path, error);
  }
}

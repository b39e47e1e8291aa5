import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export const TINY = join(ROOT, 'test/fixtures/qwen3_5-tiny');
export const SPATIAL = join(ROOT, 'test/fixtures/spatialstack-tiny');
export const VGGT = join(ROOT, 'test/fixtures/vggt-tiny');
export const NANO = join(ROOT, 'nano');
export const IMAGES = join(ROOT, 'test/fixtures/images');

/** What a finished command left. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  /** Without the two warnings that Dawn prints about any software Vulkan. */
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly env?: Record<string, string>;
  /** Called with the process and what it has printed so far, at each piece of output. */
  readonly onOutput?: (child: ChildProcess, stdout: string) => void;
  /** The same for what it has printed on standard error. */
  readonly onProgress?: (child: ChildProcess, stderr: string) => void;
}

/** Runs the command line as a user does. */
export function runCli(
  args: readonly string[],
  { stdin = '', env = {}, onOutput, onProgress }: RunOptions = {},
): Promise<Finished> {
  const child = spawn(process.execPath, [join(ROOT, 'bin/spatialstack.mjs'), ...args], {
    cwd: ROOT,
    env: { ...process.env, HF_HUB_OFFLINE: '1', ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    onOutput?.(child, stdout);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    onProgress?.(child, stderr);
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr: stderr.replace(/^Warning: maxDynamic.*\n/gm, '') }));
  });
}

/** A temporary folder that is removed after the tests of a file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spatialstack-cli-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of a checkpoint in `folder`, without its reference files, to be damaged by a test. */
export async function copyCheckpoint(source: string, folder: string, name: string): Promise<string> {
  const target = join(folder, name);
  await cp(source, target, {
    recursive: true,
    filter: (path) => !/\/(reference|images)(\/|$)/.test(path.slice(source.length)),
  });
  return target;
}

/** The prompt of a reference file of a language model, and the ids that came out of it. */
export async function readReference(
  path: string,
): Promise<{ question: string; promptIds: number[]; generatedIds: number[] }> {
  const reference = await Checkpoint.open(path);
  try {
    const user = reference.metadata.text!.split('<|im_start|>user\n')[1]!.split('<|im_end|>')[0]!;
    return {
      question: user.split('<|vision_end|>').at(-1)!,
      promptIds: [...(await reference.readInt32('input_ids'))],
      generatedIds: [...(await reference.readInt32('generated_ids'))],
    };
  } finally {
    await reference.close();
  }
}

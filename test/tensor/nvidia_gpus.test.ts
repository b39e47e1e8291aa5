import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { nvidiaGpus } from '../../src/tensor/nvidia_gpus.ts';

let folder: string | undefined;
afterEach(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true });
  folder = undefined;
});

/** A driver's folder with these GPUs (by minor number), and device files of some of them. */
async function machine(gpus: Readonly<Record<string, number>>, visible: readonly number[]): Promise<[string, string]> {
  folder = await mkdtemp(join(tmpdir(), 'gpus-'));
  const [driver, devices] = [join(folder, 'gpus'), join(folder, 'dev')];
  await mkdir(devices);
  for (const [address, minor] of Object.entries(gpus)) {
    await mkdir(join(driver, address), { recursive: true });
    await writeFile(join(driver, address, 'information'), `Model: \t\t NVIDIA H200\nDevice Minor: \t ${minor}\n`);
  }
  for (const minor of visible) await writeFile(join(devices, `nvidia${minor}`), '');
  return [driver, devices];
}

it('lists the GPUs whose device files are there, by address', async () => {
  const all = { '0000:9b:00.0': 1, '0000:3b:00.0': 0, '0000:db:00.0': 2 };
  expect(nvidiaGpus(...(await machine(all, [0, 2])))).toEqual(['0000:3b:00.0', '0000:db:00.0']);
});

it('knows none without the driver', () => {
  expect(nvidiaGpus('/nowhere')).toEqual([]);
});

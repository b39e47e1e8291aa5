import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { isCompiled } from '../bin/compiled.mjs';

it('tells whether what was compiled is there and newer than every source', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'compiled-'));
  const put = async (path: string, seconds: number) => {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), '');
    await utimes(join(folder, path), seconds, seconds);
  };
  try {
    await put('tsconfig.build.json', 1000);
    await put('src/a.ts', 1000);
    await put('src/deep/er/b.ts', 2000);
    expect(isCompiled(folder)).toBe(false);
    await put('dist/compiled', 2000);
    expect(isCompiled(folder)).toBe(true);
    await put('src/deep/er/b.ts', 2001);
    expect(isCompiled(folder)).toBe(false);
    await rm(join(folder, 'tsconfig.build.json')); // a package, not a checkout
    expect(isCompiled(folder)).toBe(true);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

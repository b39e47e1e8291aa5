import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { OpenedGpu } from '../tensor/gpu.ts';
import type { Report } from './report.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The commit of the checkout that this file belongs to, with a plus where files differ from it; undefined in an installed package. */
function commit(): string | undefined {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'ignore'] }).toString();
  try {
    if (git('rev-parse', '--show-prefix').trim() !== '') return undefined; // the package lies inside somebody else's checkout
    const isChanged = git('status', '--porcelain', '--untracked-files=no').trim() !== '';
    return `${git('rev-parse', '--short', 'HEAD').trim()}${isChanged ? '+' : ''}`;
  } catch {
    return undefined;
  }
}

/** Where and when a report of this engine was made. */
export function origin(opened: OpenedGpu): Pick<Report, 'engine' | 'card' | 'driver' | 'date' | 'commit'> {
  const found = commit();
  return {
    engine: 'spatialstack',
    card: opened.card,
    driver: opened.name,
    date: new Date().toISOString().slice(0, 10),
    ...(found !== undefined && { commit: found }),
  };
}

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));

/** Whether `npm run build` has compiled the package's src to dist, to the end, and in a checkout no source is newer. */
export function isCompiled(folder = PACKAGE) {
  const end = statSync(join(folder, 'dist/compiled'), { throwIfNoEntry: false });
  if (end === undefined) return false;
  // What npm unpacks has the times of unpacking, and nothing to compile it with.
  if (!existsSync(join(folder, 'tsconfig.build.json'))) return true;
  const sources = readdirSync(join(folder, 'src'), { recursive: true, withFileTypes: true });
  return sources.every(
    (entry) => !entry.isFile() || statSync(join(entry.parentPath, entry.name)).mtimeMs <= end.mtimeMs,
  );
}

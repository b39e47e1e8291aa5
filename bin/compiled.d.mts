/** Whether `npm run build` has compiled the package's src to dist, to the end, and in a checkout no source is newer. */
export function isCompiled(folder?: string): boolean;

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Shard } from '../eval/journal.ts';
import { INTERRUPTED } from './interrupt.ts';

const COMMAND = fileURLToPath(new URL('../../bin/spatialstack.mjs', import.meta.url));

/**
 * Starts a process for each shard with this process's own flags and waits for all of them: when one ends early, the others still finish
 * their part. Only the first one shows its progress. @returns the exit code: that of the first that failed
 */
export async function launchRanks(
  shards: readonly Shard[],
  adapters: readonly (string | undefined)[],
): Promise<number> {
  const children = shards.map(({ rank, world }, local) => {
    const adapter = adapters[local];
    const own = [
      '--rank',
      String(rank),
      '--world-size',
      String(world),
      ...(adapter === undefined ? [] : ['--adapter', adapter]),
    ];
    const isQuiet = local > 0 && !process.argv.includes('--quiet');
    const flags = [...withoutLaunch(process.argv.slice(2)), ...own, ...(isQuiet ? ['--quiet'] : [])];
    return spawn(process.execPath, [COMMAND, ...flags], { stdio: ['ignore', 'inherit', 'inherit'] });
  });
  // Ctrl-C reaches the children through the terminal; a signal that was sent to this process alone is passed on.
  const passOn = (signal: NodeJS.Signals) => {
    for (const child of children) child.kill(signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, passOn);
  const codes = await Promise.all(
    children.map(
      (child, local) =>
        new Promise<number>((resolve) => {
          child.on('error', () => resolve(1));
          child.on('close', (code, signal) => {
            const rank = shards[local]!.rank;
            if (signal !== null)
              process.stderr.write(`rank ${rank} was ended by ${signal}; --resume goes on with its part.\n`);
            resolve(code ?? 1);
          });
        }),
    ),
  );
  return codes.includes(INTERRUPTED) ? INTERRUPTED : (codes.find((code) => code !== 0) ?? 0);
}

/** The flags without those that only the launcher understands. */
function withoutLaunch(args: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--num-processes') i += 1;
    else if (!args[i]!.startsWith('--num-processes=')) kept.push(args[i]!);
  }
  return kept;
}

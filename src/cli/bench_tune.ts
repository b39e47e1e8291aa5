import type { Command } from 'commander';
import { chooseBenches, loadBenches } from '../bench/run_kernels.ts';
import { chooseTunables, type Trial, tune } from '../bench/tune.ts';
import { tunePath, writeTiles } from '../bench/tune_store.ts';
import { checkWritable } from '../io/output_file.ts';
import { Device } from '../tensor/device.ts';
import type { OpenedGpu } from '../tensor/gpu.ts';
import type { Tile } from '../tensor/tiles.ts';
import { time } from './bench_table.ts';
import { INTERRUPTED, withInterrupt } from './interrupt.ts';
import { StandardOutput } from './standard_output.ts';
import { decimal } from './values.ts';

interface TuneFlags {
  readonly seconds: number;
  readonly dryRun?: true;
}

const HELP = `
Cards differ in caches and registers, so some kernels have several tile sizes to choose from. This times all of them once, checks each against the
CPU twin, and stores those that beat the built-in choice by more than 2 % for this card and driver in ${tunePath()}
(the folder follows XDG_CACHE_HOME). Every other command uses what is stored; delete the file to return to the built-in choices.

Examples:
  $ spatialstack bench tune
  $ spatialstack bench tune matmul "attention/decode long" --dry-run

Exit code: 0 tuned, 2 wrong usage, 130 ended by Ctrl-C (nothing is stored).`;

/** Adds `bench tune`. */
export function addBenchTune(bench: Command, exit: (code: number) => void): void {
  bench
    .command('tune')
    .summary('find the best tile sizes of the kernels for this card')
    .description('Times the tile sizes that kernels can choose from and stores the best for this card and driver.')
    .argument('[name...]', 'tunables ("matmul/matvec wide") or how they begin (matmul); all unless given')
    .option(
      '--seconds <s>',
      'bound on the measuring time of a shape',
      decimal('--seconds', 0, 60, { above: true }),
      0.3,
    )
    .option('--dry-run', 'measure and print, store nothing')
    .addHelpText('after', HELP)
    .action(async (names: string[], flags: TuneFlags) => exit(await benchTune(names, flags)));
}

function named(tile: Tile): string {
  return Object.entries(tile)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

/** Runs `bench tune`. @returns the exit code */
async function benchTune(names: readonly string[], { seconds, dryRun }: TuneFlags): Promise<number> {
  const path = tunePath();
  if (dryRun !== true) await checkWritable('the cache file', path);
  const benches = chooseBenches(await loadBenches(), ['matmul', 'attention']);
  const output = new StandardOutput();
  const controller = new AbortController();
  output.onClosed = () => controller.abort();
  const width = Math.max(
    ...chooseTunables(names).flatMap(({ candidates }) => candidates.map((tile) => named(tile).length)),
  );
  const onTrial = ({ tunable, tile, milliseconds, note }: Trial) =>
    output.write(`${tunable.padEnd(30)} ${named(tile).padEnd(width)} ${note ?? time(milliseconds).padStart(9)}\n`);
  let opened: OpenedGpu;
  const chosen = await withInterrupt(controller, () =>
    tune(benches, {
      open: async () => {
        const device = await Device.open();
        opened = device.opened;
        return device;
      },
      names,
      seconds,
      signal: controller.signal,
      onTrial,
      onChoice: (tunable, tile, gain) =>
        output.write(
          `${tunable.padEnd(30)} ${named(tile).padEnd(width)} ${gain > 0 ? `chosen: saves ${(100 * gain).toFixed(0)} %` : 'kept'}\n\n`,
        ),
    }),
  );
  if (controller.signal.aborted) return output.closedCode ?? INTERRUPTED;
  if (dryRun === true) return 0;
  await writeTiles(opened!, chosen, path);
  const better = [...chosen.values()].filter((tile) => tile !== undefined).length;
  output.write(`${better} of ${chosen.size} built-in choices replaced in ${path}\n`);
  return 0;
}

import type { Command } from 'commander';
import { addBenchKernels } from './bench_kernels.ts';
import { addBenchModel } from './bench_model.ts';
import { addBenchProfile } from './bench_profile.ts';
import { addBenchTune } from './bench_tune.ts';

/** Adds the command `bench`, whose own commands measure. */
export function addBenchCommand(program: Command, exit: (code: number) => void): void {
  const bench = program
    .command('bench')
    .summary('measure kernels and models')
    .description('Measures kernels and models on this GPU. Each of the commands explains itself with --help.');
  addBenchKernels(bench, exit);
  addBenchModel(bench, exit);
  addBenchProfile(bench, exit);
  addBenchTune(bench, exit);
}

import type { Shard } from '../eval/journal.ts';
import { InputError } from '../io/errors.ts';
import type { EvalFlags } from './eval.ts';
import type { Environment } from './eval_settings.ts';
import { wholeNumber } from './values.ts';

/** What a process is to do: one shard, or to start processes with a shard each. */
export interface Ranks {
  readonly shards: readonly Shard[];
  /** Number of this process's GPU among those of its machine, to start with. */
  readonly firstLocal: number;
  readonly isLauncher: boolean;
}

const MOST = 65536;

/**
 * Ranks from flags, from the variables of eval.sh, or from Slurm's of a task that srun started (a batch script itself is none). A machine's
 * processes have consecutive ranks. @throws InputError
 */
export function readRanks(flags: EvalFlags, env: Environment): Ranks {
  const count = (name: string, least: number) => (env[name] ? wholeNumber(name, least, MOST)(env[name]) : undefined);
  if ((flags.rank === undefined) !== (flags.worldSize === undefined)) {
    throw new InputError('expected --rank and --world-size together, found one of them.');
  }
  if (flags.rank !== undefined && flags.worldSize !== undefined) {
    if (flags.numProcesses !== undefined) throw new InputError('expected --rank or --num-processes, found both.');
    if (flags.rank >= flags.worldSize) {
      throw new InputError(`--rank: expected a number below --world-size (${flags.worldSize}), found ${flags.rank}.`);
    }
    return { shards: [{ rank: flags.rank, world: flags.worldSize }], firstLocal: flags.rank, isLauncher: false };
  }
  const processes = flags.numProcesses ?? count('PROCESSES_PER_MACHINE', 1) ?? 1;
  const isBatchScript = Boolean(env.SLURM_JOB_ID) && !env.SLURM_STEP_ID;
  const slurmTasks = isBatchScript ? undefined : (count('SLURM_STEP_NUM_TASKS', 1) ?? count('SLURM_NTASKS', 1));
  const isTask = env.NUM_MACHINES === undefined && slurmTasks !== undefined && env.SLURM_PROCID !== undefined;
  const machines = isTask ? slurmTasks : (count('NUM_MACHINES', 1) ?? 1);
  const machine = (isTask ? count('SLURM_PROCID', 0) : count('MACHINE_RANK', 0)) ?? 0;
  if (machine >= machines) {
    const [rank, size] = isTask ? ['SLURM_PROCID', 'SLURM_NTASKS'] : ['MACHINE_RANK', 'NUM_MACHINES'];
    throw new InputError(`${rank}: expected a number below ${size} (${machines}), found ${machine}.`);
  }
  const shards = Array.from({ length: processes }, (_, local) => ({
    rank: machine * processes + local,
    world: machines * processes,
  }));
  const firstLocal = isTask ? (count('SLURM_LOCALID', 0) ?? 0) * processes : 0;
  return { shards, firstLocal, isLauncher: processes > 1 };
}

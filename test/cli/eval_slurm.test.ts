import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { journalLines, resultFiles, smallRun } from './eval_runs.ts';
import { runCli, temporaryFolder } from './run.ts';
import { SlurmCluster } from './slurm_cluster.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RANKS = 3;
/** The rank that is killed, and how many of the 13 documents are its own: two of cvbench and one of vsibench. */
const KILLED = 1;
const ITS_DOCUMENTS = 3;

const folder = temporaryFolder();
let cluster: SlurmCluster | undefined;

beforeAll(async () => {
  execFileSync('bash', [join(ROOT, 'scripts/install-slurm.sh')], { stdio: ['ignore', 'ignore', 'inherit'] });
  cluster = await SlurmCluster.start();
}, 300_000);
afterAll(() => cluster?.stop());

it('ends in the results of one process when a rank is killed and requeued', async () => {
  const flags = await smallRun(folder);
  const one = await runCli([...flags, '--output-dir', join(folder, 'one')]);
  expect(one.code, one.stderr).toBe(0);

  const output = join(folder, 'slurm');
  const log = join(folder, 'job.log');
  const script = join(ROOT, 'bench/slurm/eval.sbatch');
  const job = await cluster!.command(
    'sbatch',
    ['--parsable', `--ntasks=${RANKS}`, `--output=${log}`, script, ...flags.slice(1), '--output-dir', output],
    ROOT,
  );
  const journal = join(output, `journal-${KILLED}-of-${RANKS}.jsonl`);
  await expect.poll(() => journalLines(journal).length, { timeout: 120_000, interval: 10 }).toBeGreaterThan(0);
  process.kill(rankProcess(job, KILLED), 'SIGKILL');
  const answered = journalLines(journal);
  expect(answered.length).toBeLessThan(ITS_DOCUMENTS);

  const { state, restarts } = await cluster!.finished(job, 240_000);
  expect({ state, restarts }, readFileSync(log, 'utf8')).toEqual({ state: 'COMPLETED', restarts: 1 });
  expect(journalLines(journal).slice(0, answered.length)).toEqual(answered);
  expect(journalLines(journal)).toHaveLength(ITS_DOCUMENTS);
  expect(resultFiles(output)).toEqual(resultFiles(join(folder, 'one')));
}, 480_000);

/** The process of a rank of a job that srun started. */
function rankProcess(job: string, rank: number): number {
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      const variables = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0');
      const isOurs = variables.includes(`SLURM_CONF=${cluster!.folder}/slurm.conf`);
      const isRank = variables.includes(`SLURM_JOB_ID=${job}`) && variables.includes(`SLURM_PROCID=${rank}`);
      const isStep = variables.some((variable) => variable.startsWith('SLURM_STEP_ID='));
      if (isOurs && isRank && isStep && command.includes('bin/spatialstack.mjs')) return Number(name);
    } catch {
      // it ended meanwhile, or belongs to somebody else
    }
  }
  throw new Error(`rank ${rank} of job ${job} does not run`);
}

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where Debian keeps daemons, which is not on every user's path. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
const START_MS = 60_000;

/** A Slurm cluster of one machine with munge, configuration, state and logs in a temporary folder. */
export class SlurmCluster {
  readonly folder: string;
  readonly #daemons: ChildProcess[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Starts munged, slurmctld and slurmd and waits until jobs can run. */
  static async start(): Promise<SlurmCluster> {
    const cluster = new SlurmCluster(await mkdtemp(join(tmpdir(), 'slurm-')));
    try {
      await cluster.#start();
      return cluster;
    } catch (error) {
      const logs = await cluster.#logs();
      await cluster.stop();
      throw new Error(`Slurm did not start: ${error}\n${logs}`);
    }
  }

  /** Runs one of Slurm's commands. @returns its standard output */
  async command(name: string, args: readonly string[], cwd = this.folder): Promise<string> {
    const { stdout } = await run(name, args, { cwd, env: this.#environment() });
    return stdout.trim();
  }

  /** Waits until a job is over. @returns its state and how often it was requeued */
  async finished(job: string, milliseconds: number): Promise<{ state: string; restarts: number }> {
    const end = Date.now() + milliseconds;
    for (;;) {
      const text = await this.command('scontrol', ['show', 'job', job]);
      const state = /JobState=(\w+)/.exec(text)![1]!;
      if (['COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL'].includes(state)) {
        return { state, restarts: Number(/Restarts=(\d+)/.exec(text)![1]) };
      }
      if (Date.now() > end) throw new Error(`job ${job} is still ${state}: ${text}`);
      await sleep(200);
    }
  }

  /** Cancels what runs and ends the daemons. */
  async stop(): Promise<void> {
    await this.command('scancel', ['--user', userInfo().username]).catch(() => undefined);
    for (const daemon of this.#daemons.reverse()) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const ended = new Promise((resolve) => daemon.on('exit', resolve));
      daemon.kill('SIGTERM');
      await Promise.race([ended, sleep(10_000).then(() => daemon.kill('SIGKILL'))]);
    }
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #start(): Promise<void> {
    const at = (...names: string[]) => join(this.folder, ...names);
    await mkdir(at('munge'), { mode: 0o700 });
    for (const name of ['state', 'spool']) await mkdir(at(name));
    await writeFile(at('munge', 'key'), randomBytes(1024), { mode: 0o400 });
    await writeFile(at('slurm.conf'), await this.#configuration());
    const munge = ['key-file=key', 'socket=socket', 'pid-file=pid', 'log-file=log', 'seed-file=seed'];
    this.#daemon('munged', [
      '--foreground',
      '--force',
      ...munge.map((flag) => `--${flag.replace('=', `=${at('munge')}/`)}`),
    ]);
    await this.#until(() => run('munge', ['-n', '--socket', at('munge', 'socket')], { env: this.#environment() }));
    this.#daemon('slurmctld', ['-D', '-f', at('slurm.conf')]);
    this.#daemon('slurmd', ['-D', '-f', at('slurm.conf'), '-N', nodeName()]);
    await this.#until(async () => {
      const state = await this.command('sinfo', ['-h', '-o', '%T']);
      if (state !== 'idle') throw new Error(`the node is ${state}`);
    });
  }

  /** Jobs of the user who runs the test, without accounting, process tracking by kernel groups, or anything else that needs a set-up machine. */
  async #configuration(): Promise<string> {
    const { username } = userInfo();
    const at = (name: string) => join(this.folder, name);
    const [control, daemon] = await freePorts(2);
    return `
ClusterName=test
SlurmctldHost=${nodeName()}(127.0.0.1)
SlurmUser=${username}
SlurmdUser=${username}
AuthType=auth/munge
AuthInfo=socket=${at('munge')}/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort=${control}
SlurmdPort=${daemon}
StateSaveLocation=${at('state')}
SlurmdSpoolDir=${at('spool')}
SlurmctldPidFile=${at('slurmctld.pid')}
SlurmdPidFile=${at('slurmd.pid')}
SlurmctldLogFile=${at('slurmctld.log')}
SlurmdLogFile=${at('slurmd.log')}
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
JobRequeue=1
NodeName=${nodeName()} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`;
  }

  #daemon(name: string, args: readonly string[]): void {
    const daemon = spawn(name, args, { cwd: this.folder, env: this.#environment(), stdio: 'ignore' });
    daemon.on('error', () => undefined); // it is missed when it does not answer
    this.#daemons.push(daemon);
  }

  async #until(check: () => Promise<unknown>): Promise<void> {
    const end = Date.now() + START_MS;
    for (;;) {
      const error = await check().then(
        () => undefined,
        (reason: Error) => reason,
      );
      if (error === undefined) return;
      if (Date.now() > end) throw error;
      await sleep(200);
    }
  }

  async #logs(): Promise<string> {
    const names = ['munge/log', 'slurmctld.log', 'slurmd.log'];
    const texts = await Promise.all(names.map((name) => readFile(join(this.folder, name), 'utf8').catch(() => '')));
    return texts.map((text, i) => `${names[i]}:\n${text.slice(-1500)}`).join('\n');
  }

  #environment(): NodeJS.ProcessEnv {
    return { ...process.env, PATH, SLURM_CONF: join(this.folder, 'slurm.conf') };
  }
}

function nodeName(): string {
  return hostname().split('.')[0]!;
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Ports that nobody listens on. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports.push((server.address() as { port: number }).port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

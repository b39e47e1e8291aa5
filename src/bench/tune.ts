import { InputError } from '../io/errors.ts';
import { type Tunable, tileFor, tunables } from '../kernels/tuning.ts';
import type { Device } from '../tensor/device.ts';
import type { Tile } from '../tensor/tiles.ts';
import { type KernelBench, SkippedBench } from './kernel_bench.ts';
import { measure, measureError } from './measure.ts';

/** The benchmarks that tell how good the tiles of a tunable are: a kernel's variant at the shapes that it is asked for. */
export interface Probe {
  readonly name: string;
  readonly variant: string;
  readonly shapes: readonly string[];
  /** Whether a device's kernels ask for the tile at all; they do unless given. */
  readonly applies?: (device: Device) => boolean;
}

const withSubgroups = (device: Device) => device.has('subgroups');

/** By the name of the tunable. */
export const PROBES: Readonly<Record<string, Probe>> = {
  'matmul/subgroup_matrix large': matmulProbe('subgroup_matrix', ['2048x18432x2560', '4096x4096x4096']),
  'matmul/subgroup_matrix small': matmulProbe('subgroup_matrix', ['128x2560x9216', '128x2560x4096']),
  'matmul/blocked_matrix large': blockedProbe(['33312x4096x1024', '33312x1024x4096']),
  'matmul/blocked_matrix small': blockedProbe(['261x1024x1024']),
  'matmul/register': matmulProbe('register', ['512x18432x2560', '4096x4096x4096']),
  'matmul/matvec wide': { ...wideProbe(), applies: withSubgroups },
  'matmul/matvec wide without subgroups': { ...wideProbe(), applies: (device) => !withSubgroups(device) },
  'matmul/matvec narrow': matmulProbe('matvec', ['1x2560x9216', '1x2560x4096']),
  'attention/flash_matrix': attentionProbe('flash_matrix', ['8192x8192, 16/16 heads of 64']),
  'attention/flash_matrix_pair': attentionProbe('flash_matrix', ['4096x4096, 16/4 heads of 256, causal']),
  'attention/decode': attentionProbe('decode', [
    '1x512, 16/4 heads of 256, causal',
    '1x32768, 16/4 heads of 256, causal',
  ]),
  'attention/decode long': attentionProbe('decode', ['1x32768, 16/4 heads of 256, causal']),
  'attention/decode subgroups': {
    ...attentionProbe('step', ['1x512, 16/4 heads of 256, causal', '1x32768, 16/4 heads of 256, causal']),
    applies: withSubgroups,
  },
  'attention/step': { name: 'attention', variant: 'step', shapes: ['1x512, 16/4 heads of 256, causal'] },
  'conv2d/subgroup_matrix small': {
    name: 'conv2d',
    variant: 'subgroup_matrix',
    shapes: ['1x14x18 256>256 k3 s1'],
  },
  'conv2d/subgroup_matrix narrow': { name: 'conv2d', variant: 'subgroup_matrix', shapes: ['1x392x518 128>32 k3 s1'] },
  'gated_delta/step': { name: 'gated_delta', variant: 'step', shapes: ['T=1, 32 value heads of 128'] },
};

function matmulProbe(variant: string, sizes: readonly string[]): Probe {
  return { name: 'matmul', variant, shapes: sizes.map((size) => `${size} bf16 weights`) };
}

function blockedProbe(sizes: readonly string[]): Probe {
  return { name: 'matmul', variant: 'blocked_matrix', shapes: sizes.map((size) => `${size} f16 weights`) };
}

function wideProbe(): Probe {
  return matmulProbe('matvec', ['1x18432x2560', '1x12352x2560', '1x248320x2560']);
}

function attentionProbe(variant: string, shapes: readonly string[]): Probe {
  return { name: 'attention', variant, shapes };
}

/** How a tile did. */
export interface Trial {
  readonly tunable: string;
  readonly tile: Tile;
  /** Sum over the probe's shapes; absent if it could not run. */
  readonly milliseconds?: number;
  readonly note?: string;
}

/** What to tune, and who is told. */
export interface TuneOptions {
  /** Names of tunables (`matmul/register`), or how they begin (`matmul`); all where there are none. */
  readonly names: readonly string[];
  /** Opens the GPU without stored choices: again after a tile failed. */
  readonly open: () => Promise<Device>;
  /** Bound on the measuring time of one shape with one tile. */
  readonly seconds: number;
  readonly signal: AbortSignal;
  readonly onTrial: (trial: Trial) => void;
  /** Called after the last trial of a tunable. */
  readonly onChoice: (tunable: string, chosen: Tile, gain: number) => void;
}

/** A tile whose results are further from the twin's than any rounding is wrong, not fast. */
const LARGEST_ERROR = 0.02;
/** A tile must be this much faster than the kernel's own choice to replace it. */
const LEAST_GAIN = 0.02;

/** The benchmarks of a probe. */
export function probeBenches(benches: readonly KernelBench[], { name, variant, shapes }: Probe): KernelBench[] {
  return benches.filter((b) => b.name === name && b.variant === variant && shapes.includes(b.shape));
}

/** Times the probe with the tile that the device holds; a software adapter at the reduced shapes. */
async function time(device: Device, probe: readonly KernelBench[], seconds: number): Promise<number> {
  const error = (await measureError(device, probe[0]!)).error!;
  if (!(error < LARGEST_ERROR)) throw new Error(`wrong results: ${error.toExponential(1)} from the CPU twin's`);
  let sum = 0;
  for (const bench of probe) {
    const { milliseconds } = await measure(device, bench, { seconds, isReduced: device.opened.isSoftware });
    sum += milliseconds!;
  }
  return sum;
}

/** The tunables that names choose. @throws InputError */
export function chooseTunables(names: readonly string[]): Tunable[] {
  const all = tunables();
  const matches = (name: string, wanted: string) =>
    name === wanted || name.startsWith(`${wanted} `) || name.startsWith(`${wanted}/`);
  for (const wanted of names) {
    if (all.some(({ name }) => matches(name, wanted))) continue;
    const known = all.map(({ name }) => `"${name}"`).join(', ');
    throw new InputError(`bench tune: expected names among ${known}, or how they begin, found "${wanted}".`);
  }
  return names.length === 0 ? all : all.filter(({ name }) => names.some((wanted) => matches(name, wanted)));
}

/** What the tuner found: by name, a tile that beats the kernel's own choice, or undefined where nothing does. */
export type Choices = ReadonlyMap<string, Tile | undefined>;

/** Times the candidates of the tunables that this device can run. @returns the choices of those that were reached */
export async function tune(benches: readonly KernelBench[], options: TuneOptions): Promise<Choices> {
  const chosen = new Map<string, Tile | undefined>();
  let device = await options.open();
  try {
    for (const tunable of chooseTunables(options.names)) {
      const asked = PROBES[tunable.name]!;
      if (asked.applies?.(device) === false) continue;
      const probe = probeBenches(benches, asked);
      const trials: Trial[] = [];
      for (const tile of tunable.candidates) {
        if (options.signal.aborted) return chosen;
        device.tuning.set(tunable.name, tile);
        let trial: Trial = { tunable: tunable.name, tile };
        try {
          trial = { ...trial, milliseconds: await time(device, probe, options.seconds) };
        } catch (error) {
          trial = { ...trial, note: (error as Error).message.split('\n')[0]! };
          if (!(error instanceof SkippedBench)) {
            device.destroy(); // a failed device reports its first error for ever
            device = await options.open();
          }
        }
        trials.push(trial);
        options.onTrial(trial);
      }
      device.tuning.delete(tunable.name);
      const best = bestTrial(trials, tileFor(device, tunable));
      if (best === undefined) continue;
      options.onChoice(tunable.name, best.tile, best.gain);
      chosen.set(tunable.name, best.gain > 0 ? best.tile : undefined);
    }
    return chosen;
  } finally {
    device.destroy();
  }
}

/** The fastest trial, unless `own` is as good; its gain is the part of own's time that it saves. */
function bestTrial(trials: readonly Trial[], own: Tile): { tile: Tile; gain: number } | undefined {
  const timed = trials.filter(({ milliseconds }) => milliseconds !== undefined);
  if (timed.length === 0) return undefined;
  const best = timed.reduce((a, b) => (b.milliseconds! < a.milliseconds! ? b : a));
  const before = timed.find(({ tile }) => tile === own)?.milliseconds;
  const gain = before === undefined ? 1 : 1 - best.milliseconds! / before;
  return gain > LEAST_GAIN ? { tile: best.tile, gain } : { tile: own, gain: 0 };
}

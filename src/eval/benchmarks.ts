import { InputError } from '../io/errors.ts';
import { mean } from './scores.ts';
import type { Aggregate, Task } from './task.ts';
import { blinkSpatial } from './tasks/blink_spatial.ts';
import { cvbench } from './tasks/cvbench.ts';
import { mmsibench } from './tasks/mmsibench.ts';
import { nano } from './tasks/nano.ts';
import { sparbench } from './tasks/sparbench.ts';
import { videomme } from './tasks/videomme.ts';
import { vsibench, vsibenchRandom200 } from './tasks/vsibench.ts';

/** What can be asked for by name: a task, or a group of tasks whose metrics are averaged, each task with equal weight. */
export interface Benchmark {
  readonly name: string;
  readonly tasks: readonly Task[];
  readonly isGroup: boolean;
}

const TASKS = [vsibench, vsibenchRandom200, cvbench, ...blinkSpatial, sparbench, videomme, mmsibench, nano];

const BENCHMARKS: readonly Benchmark[] = [
  ...TASKS.map((task) => ({ name: task.name, tasks: [task], isGroup: false })),
  { name: 'blink_spatial', tasks: blinkSpatial, isGroup: true },
];

/** The benchmarks of these names, sorted by name as the original does. @throws InputError on an unknown or repeated name. */
export function findBenchmarks(names: readonly string[]): Benchmark[] {
  const found = names.map((name) => {
    const benchmark = BENCHMARKS.find((known) => known.name === name);
    if (benchmark !== undefined) return benchmark;
    const known = BENCHMARKS.map((one) => one.name).join(', ');
    throw new InputError(`There is no benchmark "${name}": expected one of ${known}.`);
  });
  const tasks = found.flatMap((benchmark) => benchmark.tasks.map((task) => task.name));
  const repeated = tasks.find((name, i) => tasks.indexOf(name) !== i);
  if (repeated !== undefined) throw new InputError(`Every benchmark must be named once, found ${repeated} twice.`);
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The task of this name, which must exist. */
export function findTask(name: string): Task {
  const task = TASKS.find((known) => known.name === name);
  if (task === undefined) throw new RangeError(`there is no task ${name}`);
  return task;
}

/** The order in which the original runs the tasks: names from the last to the first, a group's members in their own order. */
export function inRunningOrder<Named extends { name: string }>(sorted: readonly Named[]): Named[] {
  return [...sorted].reverse();
}

/** The metrics of a group: plain means over the members that have them. */
export function groupValues(members: readonly Aggregate[]): Map<string, number> {
  const names = new Set(members.flatMap((member) => [...member.values.keys()]));
  const valuesOf = (name: string) => members.flatMap((member) => member.values.get(name) ?? []);
  return new Map([...names].map((name) => [name, mean(valuesOf(name))]));
}

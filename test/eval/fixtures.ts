import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { findBenchmarks } from '../../src/eval/benchmarks.ts';
import type { Doc } from '../../src/eval/document.ts';
import type { Result, Task } from '../../src/eval/task.ts';

/** A document with what the original's code made of it. */
export interface FixtureLine {
  readonly task?: string;
  readonly doc: Doc;
  readonly prompt: string;
  readonly target: string;
  readonly response: string;
  readonly result: Result;
}

export const BENCHMARKS = ['blink_spatial', 'cvbench', 'mmsibench', 'sparbench', 'videomme', 'vsibench'];

export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`../fixtures/eval/${name}`, import.meta.url));
}

export function readFixture(name: string): string {
  return readFileSync(fixturePath(name), 'utf8');
}

export function jsonLines<Line>(text: string): Line[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

export function fixtureLines(benchmark: string): FixtureLine[] {
  return jsonLines(readFixture(`${benchmark}.jsonl`));
}

/** The task of a line: its own, or the only one of the benchmark. */
export function taskOf(benchmark: string, line: FixtureLine): Task {
  const { tasks } = findBenchmarks([benchmark])[0]!;
  return tasks.find((task) => task.name === line.task) ?? tasks[0]!;
}

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SHORT_ANSWERS, TINY_MODEL_ARGS, writeBlink, writeCvbench, writeVsibench } from '../eval/small_benchmarks.ts';
import { SPATIAL } from './run.ts';

export const COMMAND = fileURLToPath(new URL('../../bin/spatialstack.mjs', import.meta.url));

/** Flags of a run over three small benchmarks in `folder`, whose datasets are written first: 13 documents. */
export async function smallRun(folder: string): Promise<string[]> {
  const datasets = [
    `cvbench=${await writeCvbench(join(folder, 'cvbench'), 6)}`,
    `vsibench=${await writeVsibench(join(folder, 'vsibench'), 4)}`,
    `blink_spatial=${await writeBlink(join(folder, 'blink'), 1)}`,
  ];
  return [
    ...['eval', '--model-path', SPATIAL, '--model-args', TINY_MODEL_ARGS, '--gen-kwargs', SHORT_ANSWERS],
    ...['--benchmarks', 'cvbench,vsibench,blink_spatial'],
    ...datasets.flatMap((dataset) => ['--dataset-dir', dataset]),
  ];
}

/** The result files of a run by name, the date cut off; of the results file only what a repetition must give again. */
export function resultFiles(output: string): Record<string, unknown> {
  const folder = join(output, 'fixtures__spatialstack-tiny');
  const files: Record<string, unknown> = {};
  for (const name of readdirSync(folder)) {
    const text = readFileSync(join(folder, name), 'utf8');
    files[name.replace(/^\d{8}_\d{6}_/, '')] = name.endsWith('_results.json') ? repeatable(text) : text;
  }
  return files;
}

function repeatable(text: string): unknown {
  const { date: _, start_time: __, end_time: ___, total_evaluation_time_seconds: ____, ...rest } = JSON.parse(text);
  return rest;
}

/** The lines of a journal that are there so far. */
export function journalLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(0, -1);
  } catch {
    return [];
  }
}

/** Starts the command line and sends it a signal as soon as a journal has so many lines. @returns how it ended */
export async function killAfter(
  args: readonly string[],
  journal: string,
  lines: number,
  signal: NodeJS.Signals = 'SIGKILL',
): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  const child = spawn(process.execPath, [COMMAND, ...args], { stdio: 'ignore' });
  const timer = setInterval(() => {
    if (journalLines(journal).length < lines) return;
    clearInterval(timer);
    child.kill(signal);
  }, 20);
  return new Promise((resolve) => {
    child.on('close', (code, endedBy) => {
      clearInterval(timer);
      resolve({ code, signal: endedBy });
    });
  });
}

#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { InputError } from '../io/errors.ts';
import { DeviceError } from '../tensor/errors.ts';
import { addBenchCommand } from './bench.ts';
import { addEvalCommand } from './eval.ts';
import { addInferCommand } from './infer.ts';
import { addInfoCommand } from './info.ts';
import { addVerifyCommand } from './verify.ts';
import { addVggtCommand } from './vggt.ts';

const WRONG_USAGE_OR_INPUT = 2;
const FAILURE = 1;

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** The command line; `exit` receives the exit code of a command that ran. */
function commandLine(exit: (code: number) => void): Command {
  const program = new Command('spatialstack')
    .description('Runs SpatialStack, Qwen3.5 and VGGT checkpoints on any WebGPU adapter.')
    .version(version())
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    // Commands copy these settings when they are added.
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
  addInferCommand(program, exit);
  addVggtCommand(program, exit);
  addEvalCommand(program, exit);
  addVerifyCommand(program, exit);
  addInfoCommand(program, exit);
  addBenchCommand(program, exit);
  return program;
}

/** Tells an error on standard error, in one sentence where it is the user's to mend. @returns the exit code */
function report(error: unknown): number {
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  if (error instanceof CommanderError && error.code === 'commander.help') return WRONG_USAGE_OR_INPUT;
  const isTheirs = error instanceof InputError || error instanceof DeviceError || error instanceof CommanderError;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${oneSentence(message)}\n`);
  if (process.env.DEBUG === 'spatialstack' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return isTheirs ? WRONG_USAGE_OR_INPUT : FAILURE;
}

function oneSentence(message: string): string {
  const line = message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .trim();
  return /[.!?)]$/.test(line) ? line : `${line}.`;
}

async function main(): Promise<void> {
  let code = 0;
  // Progress that nobody reads is no reason to stop.
  process.stderr.on('error', () => undefined);
  try {
    await commandLine((result) => {
      code = result;
    }).parseAsync();
  } catch (error) {
    code = report(error);
  }
  // The GPU library may keep threads alive; what was written must still arrive.
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
}

await main();

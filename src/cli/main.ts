#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { InputError } from '../io/errors.ts';
import { DeviceError } from '../tensor/errors.ts';

const WRONG_USAGE_OR_INPUT = 2;
const FAILURE = 1;

/** The commands, in the order of the help. Each is loaded when it is called or when the help lists them all: what they bring along takes longer than parsing a command line. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command, exit: (code: number) => void) => void>>> = {
  infer: async () => (await import('./infer.ts')).addInferCommand,
  vggt: async () => (await import('./vggt.ts')).addVggtCommand,
  eval: async () => (await import('./eval.ts')).addEvalCommand,
  verify: async () => (await import('./verify.ts')).addVerifyCommand,
  info: async () => (await import('./info.ts')).addInfoCommand,
  bench: async () => (await import('./bench.ts')).addBenchCommand,
};

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** The command line for these arguments; `exit` receives the exit code of a command that ran. */
async function commandLine([first]: readonly string[], exit: (code: number) => void): Promise<Command> {
  const program = new Command('spatialstack')
    .description('Runs SpatialStack, Qwen3.5 and VGGT checkpoints on any WebGPU adapter.')
    .version(version())
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    // Commands copy these settings when they are added.
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
  const called = first !== undefined && Object.hasOwn(COMMANDS, first) ? [first] : Object.keys(COMMANDS);
  for (const add of await Promise.all(called.map((name) => COMMANDS[name]!()))) add(program, exit);
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
    const program = await commandLine(process.argv.slice(2), (result) => {
      code = result;
    });
    await program.parseAsync();
  } catch (error) {
    code = report(error);
  }
  // The GPU library may keep threads alive; what was written must still arrive.
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
}

await main();

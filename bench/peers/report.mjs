import { renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

/** An npm package that this project does not depend on, or a sentence and the end of the script. */
export async function importPeer(name) {
  try {
    return await import(name);
  } catch (error) {
    process.stderr.write(
      `${name} is needed (npm install --no-save ${name}): ${String(error.message).split('\n')[0]}\n`,
    );
    process.exit(2);
  }
}

/** The positional arguments and `--json`; a wrong count of them is told with the usage. */
export function readArguments(usage, count) {
  const { values, positionals } = parseArgs({ options: { json: { type: 'string' } }, allowPositionals: true });
  if (positionals.length !== count) {
    process.stderr.write(`usage: ${usage}\n`);
    process.exit(2);
  }
  return { positionals, json: values.json };
}

/** Writes rows in the format of `spatialstack bench --json`. */
export function writeReport(head, rows, path) {
  const report = { ...head, date: new Date().toISOString().slice(0, 10), rows };
  const text = `${JSON.stringify(report, null, 1)}\n`;
  if (path === undefined || path === '-') {
    process.stdout.write(text);
    return;
  }
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}

/** A row, told on standard error as well. */
export function row(name, variant, shape, milliseconds) {
  process.stderr.write(`${name.padEnd(12)} ${variant.padEnd(16)} ${shape.padEnd(36)} ${milliseconds.toFixed(3)} ms\n`);
  return { name, variant, shape, milliseconds };
}

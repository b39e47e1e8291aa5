import { InputError } from '../../io/errors.ts';
import { show } from '../../io/strict_json.ts';
import { readTextFile } from '../../io/text_file.ts';

/** An object of a JSON lines file; `where` names file and line for messages. */
export interface JsonLine {
  readonly where: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** The objects of a JSON lines file (at most 64 MiB); blank lines are skipped. @throws InputError */
export async function readJsonLines(path: string): Promise<JsonLine[]> {
  const lines = (await readTextFile(path)).split('\n');
  return lines.flatMap((line, i) => {
    const where = `${path} line ${i + 1}`;
    return line.trim() === '' ? [] : [{ where, value: parseObject(line, where) }];
  });
}

function parseObject(line: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new InputError(`${where}: expected JSON (${(error as Error).message}).`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new InputError(`${where}: expected a JSON object, found ${show(value)}.`);
}

import { readFile } from 'node:fs/promises';
import type { Table } from 'apache-arrow';
import { InputError } from '../../io/errors.ts';
import type { Doc } from '../document.ts';
import { plainValue } from './plain.ts';

/** How a complete stream and a complete file end. A stream cut between two batches would otherwise pass for a shorter one. */
const ENDINGS = [Buffer.from('ffffffff00000000', 'hex'), Buffer.from('ARROW1')];

/** The rows of an Arrow file or stream, which is read whole. @throws InputError if it is neither, or cut off */
export async function readArrow(path: string): Promise<{ count: number; row(index: number): Doc }> {
  let table: Table;
  try {
    const bytes = await readFile(path);
    if (!ENDINGS.some((ending) => bytes.subarray(-ending.length).equals(ending))) throw new Error('its end is missing');
    const { tableFromIPC } = await import('apache-arrow'); // a fifth of a second, which other commands need not wait for
    table = tableFromIPC(bytes);
  } catch (error) {
    throw new InputError(`${path} must be a readable Arrow file (${(error as Error).message}).`);
  }
  const columns = table.schema.fields.map(({ name }, i) => ({ name, vector: table.getChildAt(i)! }));
  return {
    count: table.numRows,
    row: (index) => Object.fromEntries(columns.map(({ name, vector }) => [name, plainValue(vector.get(index))])),
  };
}

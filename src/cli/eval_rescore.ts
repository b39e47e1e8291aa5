import { rescore } from '../eval/rescore.ts';
import { InputError } from '../io/errors.ts';
import { printTables } from './eval_table.ts';

/** Runs `eval --rescore`: scores answers that somebody else gave. @returns the exit code */
export async function rescoreCommand(items: readonly string[], outputDir: string | undefined): Promise<number> {
  if (outputDir === undefined) throw new InputError('--rescore: expected --output-dir as well, found none.');
  const { document, files } = await rescore(pairs('--rescore', 'TASK=FILE', items), outputDir);
  printTables(document, files);
  return 0;
}

/** Items of the form name=path. @throws InputError */
export function pairs(flag: string, form: string, items: readonly string[]): { name: string; path: string }[] {
  return items.map((item) => {
    const at = item.indexOf('=');
    if (at > 0 && at < item.length - 1) return { name: item.slice(0, at), path: item.slice(at + 1) };
    throw new InputError(`${flag}: expected ${form}, found ${JSON.stringify(item)}.`);
  });
}

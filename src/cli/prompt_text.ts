import { InputError } from '../io/errors.ts';

/** The prompt as given, or all of standard input (without its last line break) for `-`. @throws InputError when there is none */
export async function readPrompt(flag: string): Promise<string> {
  const text = flag === '-' ? await readStandardInput() : flag;
  if (text.trim() === '') {
    throw new InputError(`${flag === '-' ? 'standard input' : '--prompt'}: expected a question, found no text.`);
  }
  return text;
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)).replace(/\r?\n$/, '');
  } catch {
    throw new InputError('standard input: expected a prompt in UTF-8, found other bytes.');
  }
}

/**
 * Answers all questions of nano/eval.jsonl and compares them with what PyTorch answered in float32:
 *
 *   npx tsx scripts/nano-eval.ts --dtype float32 --limits infer
 *
 * Exit code: 0 when answers agree as they should (float32: wherever the reference was not near a tie; else in 98 % of all), 1 when not, 2 for
 * wrong usage.
 */
import { parseArgs } from 'node:util';
import { InputError } from '../src/io/errors.ts';
import { loadLanguageModel } from '../src/models/load.ts';
import { DTYPES, type DtypeName } from '../src/models/precision.ts';
import { Device } from '../src/tensor/device.ts';
import {
  askNano,
  LIMIT_OPTIONS,
  NANO,
  NANO_LIMITS,
  type NanoLimits,
  type NanoQuestion,
  readNanoQuestions,
  referenceOf,
} from './nano.ts';

/** Below this lead of the best logit the reference's choice was a near tie. */
const CLEAR_MARGIN = 0.05;
const LEAST_AGREEMENT = 0.98;

interface Setting {
  readonly dtype: DtypeName;
  readonly limits: NanoLimits;
}

/** One answered question. */
interface Result {
  readonly question: NanoQuestion;
  readonly text: string;
  readonly agrees: boolean;
  readonly isClear: boolean;
  readonly isCorrect: boolean;
}

function oneOf<T extends string>(flag: string, value: string, known: readonly T[]): T {
  const found = known.find((name) => name === value);
  if (found === undefined) throw new InputError(`${flag}: expected one of ${known.join(', ')}, found "${value}".`);
  return found;
}

function readSetting(): Setting {
  const { values } = parseArgs({
    options: { dtype: { type: 'string', default: 'bfloat16' }, limits: { type: 'string', default: 'infer' } },
  });
  return { dtype: oneOf('--dtype', values.dtype, DTYPES), limits: oneOf('--limits', values.limits, NANO_LIMITS) };
}

/** What follows the thought. */
function finalAnswer(text: string): string {
  return (text.split('</think>').at(-1) ?? '').trim();
}

async function answerAll(device: Device, { dtype, limits }: Setting): Promise<Result[]> {
  const loaded = await loadLanguageModel(device, NANO, { dtype, ...LIMIT_OPTIONS[limits] });
  const results: Result[] = [];
  for (const question of await readNanoQuestions()) {
    const { text } = await askNano(loaded, question);
    const reference = referenceOf(question, limits);
    const result: Result = {
      question,
      text,
      agrees: text === reference.reference_answer,
      isClear: reference.min_margin > CLEAR_MARGIN,
      isCorrect: finalAnswer(text) === question.expected,
    };
    results.push(result);
    if (!result.agrees) {
      const { id, task } = question;
      const quoted = [text, reference.reference_answer].map((answer) => JSON.stringify(answer));
      console.log(`${id} ${task}: ${quoted[0]}, reference ${quoted[1]}, min_margin ${reference.min_margin}`);
    }
  }
  await loaded.close();
  return results;
}

/** Prints the shares. @returns whether answers agree as they should */
function report(results: readonly Result[], { dtype, limits }: Setting, where: string): boolean {
  const clear = results.filter(({ isClear }) => isClear);
  const agreeing = results.filter(({ agrees }) => agrees).length;
  const clearAgreeing = clear.filter(({ agrees }) => agrees).length;
  const correct = results.filter(({ isCorrect }) => isCorrect).length;
  const share = (count: number, of: number) => `${count} of ${of} (${((100 * count) / of).toFixed(1)} %)`;
  console.log(`${dtype}, limits of ${limits === 'infer' ? 'infer' : 'the checkpoint'}, on ${where}`);
  console.log(`as expected:        ${share(correct, results.length)}`);
  console.log(`as the reference:   ${share(agreeing, results.length)}`);
  console.log(`of margin > ${CLEAR_MARGIN}:   ${share(clearAgreeing, clear.length)}`);
  return dtype === 'float32' ? clearAgreeing === clear.length : agreeing >= LEAST_AGREEMENT * results.length;
}

async function main(): Promise<void> {
  const setting = readSetting();
  const device = await Device.open();
  try {
    const results = await answerAll(device, setting);
    if (!report(results, setting, device.opened.name)) process.exitCode = 1;
  } finally {
    device.destroy();
  }
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = error instanceof InputError || error instanceof TypeError ? 2 : 1;
});

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readNanoQuestions } from '../../scripts/nano.ts';
import { runCli, temporaryFolder } from './run.ts';

const folder = temporaryFolder();
const ASKED = 4;

/** The accuracy in a results file. */
async function accuracyIn(output: string): Promise<number> {
  const names = await readdir(output, { recursive: true });
  const name = names.find((file) => file.endsWith('_results.json'))!;
  return JSON.parse(await readFile(join(output, name), 'utf8')).results.nano['nano_acc,none'];
}

it("scores PyTorch's answers as its own script did", async () => {
  const questions = await readNanoQuestions();
  for (const limits of ['infer', 'own'] as const) {
    const answers = questions.map((question) => (limits === 'infer' ? question : question.own_limits));
    const lines = questions.map((doc, i) => JSON.stringify({ doc, response: answers[i]!.reference_answer }));
    const path = join(folder, `${limits}.jsonl`);
    await writeFile(path, lines.join('\n'));
    const output = join(folder, limits);
    expect((await runCli(['eval', '--rescore', `nano=${path}`, '--output-dir', output])).code).toBe(0);
    const right = answers.filter(({ final_answer }, i) => final_answer === questions[i]!.expected).length;
    expect(await accuracyIn(output)).toBe(right / questions.length);
  }
});

it("answers as PyTorch did, from the picture's file to the results", async () => {
  const output = join(folder, 'run');
  const flags = ['--model-path', 'nano', '--dtype', 'float32', '--limit', `${ASKED}`, '--quiet'];
  const { code, stdout, stderr } = await runCli(['eval', '--benchmarks', 'nano', '--output-dir', output, ...flags]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/\|nano \|Yaml +\|none +\| +0\|nano_acc\|↑ +\|1\.0000\|/);
  const samples = await readFile(join(output, 'nano', (await readdir(join(output, 'nano')))[1]!), 'utf8');
  const questions = (await readNanoQuestions()).slice(0, ASKED);
  const responses = samples
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).resps);
  expect(responses).toEqual(questions.map(({ reference_answer }) => [[reference_answer]]));
  expect(await accuracyIn(output)).toBe(1);
}, 240_000);

import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli, TINY, temporaryFolder } from './run.ts';

const folder = temporaryFolder();
/** A prompt after which the tiny checkpoint goes on for thousands of tokens. */
const ENDLESS = [
  'infer',
  '--model-path',
  TINY,
  '--prompt',
  'The quick brown fox',
  '--max-new-tokens',
  '3900',
  '--quiet',
];

test('Ctrl-C keeps what was produced', async () => {
  const output = join(folder, 'interrupted.json');
  let sent = false;
  const { code, stdout, stderr } = await runCli([...ENDLESS, '--output-json', output], {
    onOutput: (child) => {
      if (!sent) child.kill('SIGINT');
      sent = true;
    },
  });
  expect({ code, stderr }).toEqual({ code: 130, stderr: '' });
  const result = JSON.parse(await readFile(output, 'utf8')) as Record<string, unknown>;
  expect(result.finish_reason).toBe('interrupted');
  expect(stdout).toBe(`${result.response}\n`);
  expect((result.generated_ids as number[]).length).toBeLessThan(1000);
});

test('a reader that goes away ends generation without an error', async () => {
  const output = join(folder, 'closed.json');
  const command = `node bin/spatialstack.mjs ${ENDLESS.map((word) => `'${word}'`).join(' ')} --output-json '${output}' | head -c 1 >/dev/null; exit "\${PIPESTATUS[0]}"`;
  const child = spawn('bash', ['-c', command], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(141);
  expect(stderr.replace(/^Warning: maxDynamic.*\n/gm, '')).toBe('');
  expect(JSON.parse(await readFile(output, 'utf8'))).toMatchObject({ finish_reason: 'interrupted' });
});

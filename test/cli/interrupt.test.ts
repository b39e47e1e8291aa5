import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { IMAGES, runCli, TINY, temporaryFolder, VGGT } from './run.ts';

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

test.each([
  ['while it computes', '\nloading '],
  ['while it writes', '\ndepth: '],
])('Ctrl-C %s ends vggt and leaves nothing', async (name, line) => {
  const parent = join(folder, name);
  await mkdir(parent);
  const images = Array.from({ length: 8 }, () => join(IMAGES, 'sofas.jpg'));
  const args = ['vggt', '--model-path', VGGT, '--image', ...images, '--output-dir', join(parent, 'scene')];
  let sent = false;
  const { code, stdout, stderr } = await runCli(args, {
    onProgress: (child, text) => {
      if (sent || !text.includes(line)) return;
      child.kill('SIGINT');
      sent = true;
    },
  });
  expect({ sent, code, stdout }, stderr).toEqual({ sent: true, code: 130, stdout: '' });
  expect(await readdir(parent)).toEqual([]);
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

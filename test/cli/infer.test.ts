import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { IMAGES, NANO, readReference, runCli, SPATIAL, TINY, temporaryFolder } from './run.ts';

const folder = temporaryFolder();
/** The limits in the processor_config.json of the tiny checkpoints, with which their references were made. */
const LIMITS = ['--min-pixels', '4096', '--max-pixels', '16384'];
const EXACT = ['--dtype', 'float32', '--disable-thinking', '--quiet'];

async function readResult(path: string) {
  return JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
}

describe('the ids of the PyTorch reference', () => {
  test.each([
    { checkpoint: TINY, name: 'text', visuals: 0 },
    { checkpoint: TINY, name: 'image', visuals: 1 },
    { checkpoint: TINY, name: 'images', visuals: 3 },
    { checkpoint: SPATIAL, name: 'image', visuals: 1 },
    { checkpoint: SPATIAL, name: 'images', visuals: 3 },
  ])('$checkpoint $name', async ({ checkpoint, name, visuals }) => {
    const reference = await readReference(join(checkpoint, `reference/${name}.safetensors`));
    const output = join(folder, 'new folder', `${visuals}.json`);
    const pictures = join(folder, 'pictures');
    await mkdir(pictures, { recursive: true });
    for (const [i, file] of ['sofas.jpg', 'office_chairs.jpg', '2chairs.png'].entries()) {
      await copyFile(join(IMAGES, file), join(pictures, `${i}-${file}`));
    }
    const source = [[], ['--image', join(IMAGES, 'sofas.jpg')], [], ['--image-dir', pictures, '--add-frame-index']][
      visuals
    ]!;
    const count = reference.generatedIds.length;
    const flags = ['--model-path', checkpoint, '--prompt', reference.question, ...source, ...LIMITS, ...EXACT];
    const { code, stdout, stderr } = await runCli([
      'infer',
      ...flags,
      '--max-new-tokens',
      `${count}`,
      '--output-json',
      output,
    ]);

    expect(stderr).toBe('');
    expect(code).toBe(0);
    const result = await readResult(output);
    expect(result.prompt_ids).toEqual(reference.promptIds);
    expect(result.generated_ids).toEqual(reference.generatedIds);
    expect(result.num_visuals).toBe(visuals);
    expect(stdout).toBe(`${result.response}\n`);
  });
});

describe('output', () => {
  test('the result file, progress as plain lines and the figures', async () => {
    const output = join(folder, 'out.json');
    const flags = ['--model-path', TINY, '--prompt', 'é 你好', '--image', join(IMAGES, 'sofas.jpg'), ...LIMITS];
    const { code, stdout, stderr } = await runCli([
      'infer',
      ...flags,
      '--max-new-tokens',
      '4',
      '--output-json',
      output,
    ]);
    expect(code).toBe(0);
    const text = await readFile(output, 'utf8');
    expect(text).toMatch(/^\{\n {2}"model_path": ".*",\n {2}"prompt": "é 你好",\n/);
    const result = JSON.parse(text) as Record<string, unknown>;
    expect(Object.keys(result)).toEqual([
      'model_path',
      'prompt',
      'num_visuals',
      'response',
      'prompt_ids',
      'generated_ids',
      'finish_reason',
      'timings',
      'tokens_per_second',
      'device',
    ]);
    expect(result).toMatchObject({ model_path: TINY, num_visuals: 1, finish_reason: 'length' });
    expect(Object.keys(result.timings as object).sort()).toEqual([
      'decode',
      'geometry',
      'load',
      'prefill',
      'preprocess',
      'vision',
    ]);
    expect(result.timings).toMatchObject({ geometry: 0 });
    expect((result.timings as { vision: number }).vision).toBeGreaterThan(0);
    expect(result.tokens_per_second).toBeGreaterThan(0);
    expect(stdout).toBe(`${result.response}\n`);

    for (const control of ['\r', '\u001b']) expect(stderr).not.toContain(control);
    const lines = stderr.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^loading qwen3_5-tiny: 2\.08 MB in .* \(.*\/s\)$/);
    expect(lines[1]).toMatch(/^prompt: \d+ tokens, 1 picture$/);
    expect(lines[2]).toMatch(/^vision: \d/);
    expect(lines[3]).toMatch(/^prefill: \d/);
    expect(lines[4]).toMatch(
      /^prompt \d+ tokens, [\d.]+ tokens\/s \| decode 4 tokens, [\d.]+ tokens\/s \| first token after .*s \| peak GPU memory .*iB$/,
    );
    expect(lines).toHaveLength(5);
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('the prompt from standard input is the prompt as a flag', async () => {
    const run = async (prompt: string, stdin: string) => {
      const flags = ['--model-path', TINY, '--prompt', prompt, '--max-new-tokens', '6', '--quiet'];
      return runCli(['infer', ...flags], { stdin });
    };
    const asFlag = await run('How many objects are blue?', '');
    const piped = await run('-', 'How many objects are blue?\n');
    expect(piped).toEqual(asFlag);
    expect(piped).toMatchObject({ code: 0, stderr: '' });
  });

  test('a seed makes drawing repeatable', async () => {
    const run = (seed: string) => {
      const draw = [
        '--temperature',
        '1',
        '--top-k',
        '50',
        '--top-p',
        '0.95',
        '--min-p',
        '0.01',
        '--presence-penalty',
        '0.5',
      ];
      return runCli([
        'infer',
        '--model-path',
        TINY,
        '--prompt',
        'x',
        '--max-new-tokens',
        '12',
        '--quiet',
        ...draw,
        '--seed',
        seed,
      ]);
    };
    const [first, again, other] = [await run('7'), await run('7'), await run('8')];
    expect(first.code).toBe(0);
    expect(again.stdout).toBe(first.stdout);
    expect(other.stdout).not.toBe(first.stdout);
  });

  test('a penalty changes greedy answers, naive attention does not', async () => {
    const run = (...flags: string[]) =>
      runCli([
        'infer',
        '--model-path',
        TINY,
        '--prompt',
        'x',
        '--max-new-tokens',
        '12',
        '--quiet',
        '--dtype',
        'float32',
        ...flags,
      ]);
    const greedy = await run();
    expect((await run('--no-flash-attn2')).stdout).toBe(greedy.stdout);
    expect((await run('--repetition-penalty', '3')).stdout).not.toBe(greedy.stdout);
  });

  test('frames of a video', async () => {
    const output = join(folder, 'video.json');
    const video = join(IMAGES, '../video/clip.mp4');
    const flags = ['--video', video, '--max-num-frames', '3', '--add-frame-index', ...LIMITS, '--max-new-tokens', '2'];
    const { code } = await runCli(['infer', '--model-path', TINY, '--prompt', 'x', ...flags, '--output-json', output]);
    expect(code).toBe(0);
    expect((await readResult(output)).num_visuals).toBe(3);
  });

  test('the nano checkpoint answers as under PyTorch', async () => {
    const line = (await readFile(join(NANO, 'eval.jsonl'), 'utf8')).split('\n')[0]!;
    const { images, question, reference_answer, reference_ids, prompt_tokens } = JSON.parse(line) as {
      images: string[];
      question: string;
      reference_answer: string;
      reference_ids: number[];
      prompt_tokens: number;
    };
    const output = join(folder, 'nano.json');
    const flags = ['--image', join(NANO, 'images', images[0]!), '--disable-thinking', '--prompt', question];
    const { code, stdout } = await runCli(['infer', '--model-path', NANO, ...flags, '--output-json', output]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${reference_answer}\n` });
    const result = await readResult(output);
    expect(result).toMatchObject({ generated_ids: reference_ids, finish_reason: 'stop', response: reference_answer });
    expect(result.prompt_ids).toHaveLength(prompt_tokens);
  });
});

import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../../src/io/safetensors_write.ts';
import { copyCheckpoint, IMAGES, type RunOptions, runCli, SPATIAL, TINY, temporaryFolder, VGGT } from './run.ts';

const folder = temporaryFolder();
const output = join(folder, 'not', 'written.json');

/** Runs `infer` and expects exit code 2, nothing on standard output, one line on standard error, and no result file. */
async function expectRefusal(flags: readonly string[], sentence: RegExp, options?: RunOptions): Promise<void> {
  const { code, stdout, stderr } = await runCli(['infer', '--quiet', '--output-json', output, ...flags], options);
  expect({ code, stdout }, stderr).toEqual({ code: 2, stdout: '' });
  const lines = stderr.split('\n').filter((line) => line !== '' && !/^(Warning: vk| {4}at )/.test(line));
  expect(lines, stderr).toHaveLength(1);
  expect(lines[0]).toMatch(sentence);
  expect(existsSync(join(folder, 'not'))).toBe(false);
}

describe('wrong usage', () => {
  test.each<[string, string[], RegExp]>([
    ['no prompt', [], /^required option '--prompt <text>' not specified\.$/],
    ['an empty prompt', ['--prompt', ' '], /^--prompt: expected a question, found no text\.$/],
    ['an unknown flag', ['--prompt', 'x', '--imege', 'y'], /^unknown option '--imege' \(Did you mean --image\?\)$/],
    ['a flag without its value', ['--prompt', 'x', '--image'], /^option '--image <file>' argument missing\.$/],
    ['a stray word', ['--prompt', 'how', 'many'], /^too many arguments/],
    [
      'two sources',
      ['--prompt', 'x', '--image', 'a', '--video', 'b'],
      /at most one of .* found --image and --video\.$/,
    ],
    ['beams', ['--prompt', 'x', '--num-beams', '4'], /^--num-beams: expected 1, .* found 4\.$/],
    ['a dtype', ['--prompt', 'x', '--dtype', 'int8'], /^--dtype: expected bfloat16, float16, float32, found "int8"\.$/],
    [
      'a frame',
      ['--prompt', 'x', '--reference-frame', 'middle'],
      /^--reference-frame: expected first, last, found "middle"\.$/,
    ],
    [
      'no number',
      ['--prompt', 'x', '--temperature', 'hot'],
      /^--temperature: expected a number from 0 to 100, found "hot"\.$/,
    ],
    [
      'a zero',
      ['--prompt', 'x', '--max-new-tokens', '0'],
      /^--max-new-tokens: expected a whole number from 1 .* found "0"\.$/,
    ],
    ['a fraction', ['--prompt', 'x', '--top-k', '1.5'], /^--top-k: expected a whole number .* found "1\.5"\.$/],
    ['top-p 0', ['--prompt', 'x', '--top-p', '0'], /^--top-p: expected a number above 0 and at most 1, found "0"\.$/],
    [
      'limits',
      ['--prompt', 'x', '--min-pixels', '9', '--max-pixels', '4'],
      /^--min-pixels: expected at most --max-pixels \(4\), found 9\.$/,
    ],
    ['no such picture', ['--prompt', 'x', '--image', 'no.png'], /^--image no\.png: no such file or folder\.$/],
  ])('%s', (_, flags, sentence) => expectRefusal(['--model-path', TINY, ...flags], sentence));

  test.each<[string, string, RegExp]>([
    ['a folder', IMAGES, /^--output-json .* found a folder\.$/],
    ['a file as a folder', join(TINY, 'config.json', 'x.json'), /^--output-json .* found ENOTDIR\.$/],
    ['where nobody can write', '/proc/nowhere/x.json', /^--output-json .* found E\w+\.$/],
  ])('an output that cannot be written: %s', async (_, path, sentence) => {
    await expectRefusal(['--model-path', TINY, '--prompt', 'x', '--output-json', path], sentence);
  });

  test('no command shows the help; --help and --version succeed', async () => {
    expect(await runCli([])).toMatchObject({ code: 2, stdout: '' });
    expect(await runCli(['evaluate'])).toMatchObject({ code: 2, stderr: "unknown command 'evaluate'.\n" });
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
    expect(await runCli(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    for (const command of ['infer', 'verify', 'info']) {
      const help = await runCli([command, '--help']);
      expect(help).toMatchObject({ code: 0, stderr: '' });
      expect(help.stdout).toMatch(/Examples:\n {2}\$ spatialstack /);
    }
  });
});

describe('checkpoints', () => {
  const refuse = (path: string, sentence: RegExp) => expectRefusal(['--model-path', path, '--prompt', 'x'], sentence);
  /** A copy of the tiny SpatialStack whose tensors went through `change`. */
  async function withTensors(name: string, change: (tensors: Map<string, TensorToWrite>) => void): Promise<string> {
    const path = await copyCheckpoint(SPATIAL, folder, name);
    const checkpoint = await Checkpoint.open(path);
    const tensors = new Map<string, TensorToWrite>();
    for (const [tensor, { dtype, shape }] of checkpoint.entries) {
      tensors.set(tensor, { dtype, shape, data: await checkpoint.readBytes(tensor) });
    }
    await checkpoint.close();
    change(tensors);
    await writeSafetensors(join(path, 'model.safetensors'), tensors);
    return path;
  }

  test('a path that does not exist', () => refuse('./no/where', /^\.\/no\/where: no such file or folder\.$/));

  test('a hub id that is not in the cache', () =>
    expectRefusal(
      ['--model-path', 'org/model', '--prompt', 'x'],
      /^org\/model: expected a complete copy in the hub cache/,
      {
        env: { HF_HUB_CACHE: folder },
      },
    ));

  test('a folder without a checkpoint', () => refuse(IMAGES, /safetensors/));

  test('a VGGT', () => refuse(VGGT, /found a VGGT, which answers no questions\.$/));

  test.each<[string, (config: Record<string, unknown>) => unknown, RegExp]>([
    [
      'unknown model_type',
      (config) => ({ ...config, model_type: 'llama' }),
      /config\.json: model_type must be .* found "llama"\.$/,
    ],
    [
      'a wrong size',
      (config) => ({ ...config, image_token_id: -4 }),
      /config\.json: image_token_id must be a whole number/,
    ],
    ['no object', () => [1], /config\.json must hold a JSON object, found/],
  ])('config.json: %s', async (name, change, sentence) => {
    const path = await copyCheckpoint(TINY, folder, name.replaceAll(' ', '-'));
    const file = join(path, 'config.json');
    const config = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    await writeFile(file, JSON.stringify(change(config)));
    await refuse(path, sentence);
  });

  test('bad JSON', async () => {
    const path = await copyCheckpoint(TINY, folder, 'bad-json');
    await writeFile(join(path, 'config.json'), '{"model_type": ');
    await refuse(path, /config\.json must be JSON \(.*\)\.$/);
  });

  test('no tokenizer', async () => {
    const path = await copyCheckpoint(TINY, folder, 'no-tokenizer');
    await rm(join(path, 'tokenizer.json'));
    await refuse(path, /tokenizer\.json does not exist\.$/);
  });

  test('a missing tensor', async () => {
    const path = await withTensors('missing-tensor', (tensors) => {
      tensors.delete('model.language_model.layers.1.mlp.up_proj.weight');
    });
    await refuse(path, /expected a tensor named "model\.language_model\.layers\.1\.mlp\.up_proj\.weight", found none/);
  });

  test('a tensor of another shape', async () => {
    const path = await withTensors('other-shape', (tensors) => {
      const norm = tensors.get('model.language_model.norm.weight')!;
      tensors.set('model.language_model.norm.weight', { ...norm, shape: [1, ...norm.shape] });
    });
    await refuse(path, /model\.language_model\.norm\.weight has shape \[1,96\]; \[96\] was expected\.$/);
  });

  test('a file that was cut off', async () => {
    const path = await copyCheckpoint(SPATIAL, folder, 'cut-off');
    await truncate(join(path, 'model.safetensors'), 2_000_000);
    await refuse(path, /model\.safetensors/);
  });

  test('a header longer than the file', async () => {
    const path = await copyCheckpoint(SPATIAL, folder, 'long-header');
    const header = new Uint8Array(64);
    new DataView(header.buffer).setBigUint64(0, 5000n, true);
    await writeFile(join(path, 'model.safetensors'), header);
    await refuse(path, /expected a header inside the file, found a header length of 5000 bytes/);
  });

  test('a shard that is not there', async () => {
    const path = await copyCheckpoint(TINY, folder, 'no-shard');
    await rm(join(path, 'model-00003-of-00008.safetensors'));
    await refuse(path, /model-00003-of-00008\.safetensors: no such file or folder\.$/);
  });
});

describe('prompts', () => {
  const broken = join(folder, 'broken');
  beforeAll(async () => {
    await mkdir(join(broken, 'empty'), { recursive: true });
    await writeFile(join(broken, 'text.jpg'), 'no picture');
    await writeFile(join(broken, 'cut.jpg'), (await readFile(join(IMAGES, 'sofas.jpg'))).subarray(0, 20_000));
    const png = await readFile(join(IMAGES, '2chairs.png'));
    png.writeUInt32BE(60_000, 16);
    png.writeUInt32BE(60_000, 20);
    await writeFile(join(broken, 'huge.png'), png);
    await writeFile(join(broken, 'empty.mp4'), '');
    await writeFile(join(broken, 'text.mp4'), 'no video');
  });

  test.each<[string, string[], RegExp]>([
    [
      'no picture',
      ['--image', join(broken, 'text.jpg')],
      /^picture .*text\.jpg is not a JPEG, PNG, WebP or BMP file or is damaged/,
    ],
    ['a cut-off picture', ['--image', join(broken, 'cut.jpg')], /^picture .*cut\.jpg is damaged/],
    ['a huge picture', ['--image', join(broken, 'huge.png')], /^picture .*huge\.png /],
    ['no pictures in a folder', ['--image-dir', join(broken, 'empty')], /^folder .*empty holds no picture/],
    ['an empty video', ['--video', join(broken, 'empty.mp4')], /^video .*empty\.mp4 must be a video file/],
    ['no video', ['--video', join(broken, 'text.mp4')], /^video .*text\.mp4 is damaged or of an unknown format/],
  ])('%s', (_, flags, sentence) => expectRefusal(['--model-path', TINY, '--prompt', 'x', ...flags], sentence));

  test('longer than the context', () =>
    expectRefusal(
      ['--model-path', TINY, '--prompt', '-'],
      /^the prompt has \d+ tokens; this model's context holds 4096\.$/,
      {
        stdin: 'word '.repeat(5000),
      },
    ));

  test('no adapter', () =>
    expectRefusal(['--model-path', TINY, '--prompt', 'x'], /^no WebGPU adapter was found/, {
      env: { VK_DRIVER_FILES: '/nonexistent', VK_ICD_FILENAMES: '/nonexistent' },
    }));
});

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../../src/io/safetensors_write.ts';
import { compare } from '../../src/models/reference.ts';
import { runCli, SPATIAL, TINY, temporaryFolder, VGGT } from './run.ts';

const folder = temporaryFolder();

/** Rows of the printed table: name, verdict. */
function verdicts(stdout: string): Map<string, string> {
  const rows = stdout.split('\n\n')[0]!.split('\n').slice(1);
  return new Map(rows.map((row) => [row.split(/\s+/)[0]!, /\b(ok|FAIL|skipped)\b/.exec(row)![0]]));
}

describe('verify', () => {
  test.each([
    { checkpoint: TINY, file: 'text' },
    { checkpoint: SPATIAL, file: 'image' },
    { checkpoint: SPATIAL, file: 'images_last', more: ['--reference-frame', 'last'] },
    { checkpoint: VGGT, file: 'square' },
  ])(
    '$checkpoint $file is within tolerance, and its dump is the reference',
    async ({ checkpoint, file, more = [] }) => {
      const path = join(checkpoint, `reference/${file}.safetensors`);
      const dump = join(folder, 'dumps', `${file}.safetensors`);
      const flags = ['--model-path', checkpoint, '--reference', path, '--dtype', 'float32', '--dump', dump];
      const { code, stdout } = await runCli(['verify', ...flags, ...more]);
      expect(code, stdout).toBe(0);
      const rows = verdicts(stdout);
      expect([...rows.values()]).not.toContain('FAIL');

      const reference = await Checkpoint.open(path);
      const dumped = await Checkpoint.open(dump);
      for (const [name, verdict] of rows) {
        if (verdict !== 'ok') continue;
        expect(dumped.entry(name).shape).toEqual(reference.entry(name).shape);
        const { relativeL2 } = compare(await dumped.readFloat32(name), await reference.readFloat32(name));
        expect(relativeL2, name).toBeLessThan(1e-3);
      }
      expect(rows.size).toBeGreaterThan(4);
      await Promise.all([reference.close(), dumped.close()]);
    },
  );

  test('a row beyond its tolerance fails the command', async () => {
    const reference = await Checkpoint.open(join(TINY, 'reference/text_short.safetensors'));
    const tensors = new Map<string, TensorToWrite>();
    for (const [name, { dtype, shape }] of reference.entries) {
      tensors.set(name, { dtype, shape, data: await reference.readBytes(name) });
    }
    await reference.close();
    const logits = tensors.get('logits_last')!;
    const values = new Float32Array(logits.data.slice().buffer);
    values[5]! += 1;
    tensors.set('logits_last', { ...logits, data: new Uint8Array(values.buffer) });
    const changed = join(folder, 'changed.safetensors');
    await writeSafetensors(changed, tensors);

    const { code, stdout } = await runCli([
      'verify',
      '--model-path',
      TINY,
      '--reference',
      changed,
      '--dtype',
      'float32',
    ]);
    expect(code).toBe(1);
    expect([...verdicts(stdout)].filter(([, verdict]) => verdict === 'FAIL')).toEqual([['logits_last', 'FAIL']]);
    expect(stdout).toMatch(/logits_last .* 1\.00e\+0 .*FAIL +needs relative L2/);
    expect(stdout).toMatch(/\d+ ok, 1 failed, 0 skipped/);
  });

  test('what is no reference of the model is refused', async () => {
    const weights = join(VGGT, 'model.safetensors');
    const refused = await runCli(['verify', '--model-path', TINY, '--reference', weights]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/holds no input_ids/);
    const missing = await runCli(['verify', '--model-path', TINY, '--reference', join(folder, 'no.safetensors')]);
    expect(missing).toMatchObject({ code: 2, stderr: `${join(folder, 'no.safetensors')}: no such file or folder.\n` });
  });
});

describe('info', () => {
  test('the GPU and the kernels it selects', async () => {
    const { code, stdout } = await runCli(['info']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^adapter +\S/);
    expect(stdout).toMatch(/maxStorageBufferBindingSize +[\d,]+\n/);
    expect(stdout).toMatch(/matrix product, one token .* matmul\/matvec/);
    expect(stdout).toMatch(/gated delta rule, 512 tokens .* gated_delta\/chunk_scan/);
  });

  test('parameters and bytes of a checkpoint, and the memory it will take', async () => {
    const { code, stdout } = await runCli(['info', '--model-path', TINY, '--context', '64', '--dtype', 'float32']);
    expect(code).toBe(0);
    const index = JSON.parse(await readFile(join(TINY, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: { total_parameters: number };
      weight_map: Record<string, string>;
    };
    const all = /^all +([\d,]+) +([\d,]+) /m.exec(stdout)!;
    expect(Number(all[1]!.replaceAll(',', ''))).toBe(Object.keys(index.weight_map).length);
    expect(Number(all[2]!.replaceAll(',', ''))).toBe(index.metadata.total_parameters);
    const total = Number(/in all, text only +([\d.]+) MiB/.exec(stdout)![1]);

    // A run with that context takes what was foretold.
    const flags = ['--model-path', TINY, '--prompt', 'x', '--dtype', 'float32', '--max-new-tokens', '24'];
    const { stderr } = await runCli(['infer', ...flags]);
    const peak = Number(/peak GPU memory ([\d.]+) MiB/.exec(stderr)![1]);
    expect(Math.abs(total - peak)).toBeLessThan(0.35 * peak);
  });
});
